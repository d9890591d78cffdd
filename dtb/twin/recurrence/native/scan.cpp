// The recurrence on a CPU: all steps of one person before the next, so that the weights stay in that core's cache. People whose weights
// are a shared matrix and a change of low rank go in groups, so that each step is one product of many rows.
//
// A plain C interface, loaded with ctypes: it needs neither Python's nor torch's headers, so it builds in a second wherever there is
// a C++ compiler. The same source is compiled once per instruction set (scan_body.h) and chosen when it runs.
//
// Arrays are C-contiguous float32. Shape letters: S subject, T step, K segment, N hidden unit, G row of the recurrent weights,
// Q rank.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <thread>
#include <vector>

enum Cell : int { kElman = 0, kLeaky = 1, kGated = 2 };

struct Sizes {
    int64_t subjects, steps, segments, hidden, rows, rank;  // rank 0: each person's own weights
    int cell;
};

struct ForwardArrays {
    const float *drive_STKG, *weights_SGN, *shared_GN, *left_SGQ, *right_SNQ, *rate_SN, *noise_STKN;
    const float *initial_SKN;  // state before step 0; null for zero
    float *state_STKN;   // T + 1 steps, the first is the state before step 0
    float *active_STKG;  // what the activation functions gave, for the backward pass; null where the state tells it
};

struct BackwardArrays {
    const float *outer_STKN, *weights_SGN, *shared_GN, *left_SGQ, *right_SNQ, *rate_SN, *state_STKN, *active_STKG;
    float *drive_gradient_STKG, *rate_gradient_SN, *initial_gradient_SKN;  // the last two where they are wanted
};

namespace generic {
#define LANES 4
#define TILE_ROWS 4
#define TILE_VECTORS 2
#include "scan_body.h"
}  // namespace generic

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HAS_LEVELS 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#include "scan_body.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
namespace avx512 {
#define LANES 16
#define TILE_ROWS 6
#define TILE_VECTORS 4
#include "scan_body.h"
}  // namespace avx512
#pragma GCC pop_options
#endif

namespace {

constexpr int64_t kRows = 32;  // of one product with shared weights, about: more would not make it faster

// Hands out people to threads, in groups; each thread has its own scratch. Returns false where memory for it is lacking.
template <typename Scratch, typename Work>
bool for_each_group(const Sizes &sizes, int num_threads, Scratch scratch_floats, Work work) {
    int64_t groups = sizes.subjects;
    if (sizes.rank) {
        // As many groups as keep all threads equally busy.
        const int64_t wanted = (sizes.subjects * sizes.segments + kRows - 1) / kRows;
        groups = (wanted + num_threads - 1) / num_threads * num_threads;
    }
    const int64_t people = (sizes.subjects + groups - 1) / groups;
    groups = (sizes.subjects + people - 1) / people;
    const int64_t used = num_threads < groups ? num_threads : groups;
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    auto run = [&]() {
        float *memory = new (std::nothrow) float[scratch_floats(sizes, people) + 16];
        if (memory == nullptr) {
            failed = true;
            return;
        }
        float *aligned = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(memory) + 63) & ~uintptr_t(63));
        for (int64_t group = next++; group < groups; group = next++) {
            const int64_t first = group * people, rest = sizes.subjects - first;
            work(first, rest < people ? rest : people, aligned);
        }
        delete[] memory;
    };
    std::vector<std::thread> helpers;
    try {
        for (int64_t index = 1; index < used; ++index) helpers.emplace_back(run);
    } catch (const std::exception &) {
        // No more threads to be had: those there are do the work.
    }
    run();
    for (auto &helper : helpers) helper.join();
    return !failed;
}

int best_level() {
#ifdef HAS_LEVELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

}  // namespace

extern "C" {

// Which arrays the functions take; scan_native.py asks for its own number, for an older build may still lie beside newer Python.
int dtb_scan_version() { return 3; }

// 0 for plain code, 1 for AVX2, 2 for AVX-512.
int dtb_scan_level() { return best_level(); }

int dtb_scan_forward(int level, int num_threads, const Sizes *sizes, const ForwardArrays *arrays) {
    if (level > best_level()) return 2;
    auto run = [&](auto scratch_floats, auto forward) {
        return for_each_group(*sizes, num_threads, scratch_floats, [&](int64_t first, int64_t people, float *scratch) {
            forward(*sizes, *arrays, first, people, scratch);
        });
    };
#ifdef HAS_LEVELS
    if (level == 2) return run(avx512::scratch_floats, avx512::forward) ? 0 : 1;
    if (level == 1) return run(avx2::scratch_floats, avx2::forward) ? 0 : 1;
#endif
    return run(generic::scratch_floats, generic::forward) ? 0 : 1;
}

int dtb_scan_backward(int level, int num_threads, const Sizes *sizes, const BackwardArrays *arrays) {
    if (level > best_level()) return 2;
    auto run = [&](auto scratch_floats, auto backward) {
        return for_each_group(*sizes, num_threads, scratch_floats, [&](int64_t first, int64_t people, float *scratch) {
            backward(*sizes, *arrays, first, people, scratch);
        });
    };
#ifdef HAS_LEVELS
    if (level == 2) return run(avx512::scratch_floats, avx512::backward) ? 0 : 1;
    if (level == 1) return run(avx2::scratch_floats, avx2::backward) ? 0 : 1;
#endif
    return run(generic::scratch_floats, generic::backward) ? 0 : 1;
}

}  // extern "C"
