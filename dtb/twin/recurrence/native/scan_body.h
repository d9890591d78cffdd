// The recurrence of some people, for one instruction set; scan.cpp includes this inside a namespace with
//   LANES         floats in a vector register
//   TILE_ROWS     segments computed at once
//   TILE_VECTORS  vectors of columns computed at once: TILE_ROWS * TILE_VECTORS sums fit in registers
// There is no include guard: it is meant to be included once per instruction set.

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int Integers __attribute__((vector_size(LANES * 4), aligned(4)));
constexpr int64_t kPanel = LANES * TILE_VECTORS;

static inline Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
static inline void store(float *to, Vector value) { *reinterpret_cast<Vector *>(to) = value; }
static inline Vector splat(float value) { return value - Vector{}; }
static inline int64_t padded(int64_t columns) { return (columns + LANES - 1) / LANES * LANES; }

// exp(x) for |x| <= 80, to about 1 unit in the last place: x = n ln 2 + r, a polynomial in r (Cephes), and n into the exponent.
static inline Vector exponential(Vector x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    Vector shifted = x * 1.44269504f + magic;
    Vector n = shifted - magic;
    Vector r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Vector p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    Integers exponent = reinterpret_cast<Integers>(shifted) << 23;  // the low bits of `shifted` hold n
    return reinterpret_cast<Vector>(reinterpret_cast<Integers>(p) + exponent);
}

static inline Vector clamp(Vector x, float bound) {
    x = x > bound ? splat(bound) : x;
    return x < -bound ? splat(-bound) : x;
}

// tanh to about 2 units in the last place: a polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel (Cephes). NaN stays NaN.
static inline Vector hyperbolic_tangent(Vector x) {
    Vector magnitude = x < 0.0f ? -x : x;
    Vector z = x * x;
    Vector p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * x + x;
    Vector large = 1.0f - 2.0f / (exponential(2.0f * clamp(magnitude, 20.0f)) + 1.0f);
    large = x < 0.0f ? -large : large;
    Vector result = magnitude < 0.625f ? p : large;
    return x == x ? result : x;
}

static inline Vector logistic(Vector x) {
    Vector result = 1.0f / (1.0f + exponential(-clamp(x, 80.0f)));
    return x == x ? result : x;
}

// sum(ROWS x VECTORS) += left(ROWS x depth) * panel(depth x VECTORS * LANES)
template <int ROWS, int VECTORS>
static inline void multiply_tile(const float *left, int64_t left_stride, const float *panel, int64_t depth, float *sum,
                                 int64_t sum_stride) {
    Vector total[ROWS][VECTORS];
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < VECTORS; ++v) total[row][v] = load(sum + row * sum_stride + v * LANES);
    for (int64_t inner = 0; inner < depth; ++inner) {
        const float *line = panel + inner * VECTORS * LANES;
        Vector right[VECTORS];
        for (int v = 0; v < VECTORS; ++v) right[v] = load(line + v * LANES);
        for (int row = 0; row < ROWS; ++row) {
            const float factor = left[row * left_stride + inner];
            for (int v = 0; v < VECTORS; ++v) total[row][v] += factor * right[v];
        }
    }
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < VECTORS; ++v) store(sum + row * sum_stride + v * LANES, total[row][v]);
}

template <int ROWS>
static inline void multiply_panel(const float *left, int64_t left_stride, const float *panel, int64_t depth, int64_t vectors,
                                  float *sum, int64_t sum_stride) {
    switch (vectors) {
        case 1: multiply_tile<ROWS, 1>(left, left_stride, panel, depth, sum, sum_stride); break;
#if TILE_VECTORS > 2
        case 2: multiply_tile<ROWS, 2>(left, left_stride, panel, depth, sum, sum_stride); break;
        case 3: multiply_tile<ROWS, 3>(left, left_stride, panel, depth, sum, sum_stride); break;
#endif
        default: multiply_tile<ROWS, TILE_VECTORS>(left, left_stride, panel, depth, sum, sum_stride);
    }
}

// sum(rows x columns) += left(rows x depth) * packed(depth x columns); columns is a multiple of LANES. A panel of columns is used for
// all rows before the next: matrices larger than the cache are read once.
static void multiply(const float *left, int64_t left_stride, const float *packed, int64_t depth, int64_t columns, float *sum,
                     int64_t sum_stride, int64_t rows) {
    for (int64_t column = 0; column < columns; column += kPanel) {
        const float *panel = packed + column * depth;
        const int64_t vectors = (columns - column < kPanel ? columns - column : kPanel) / LANES;
        int64_t row = 0;
        while (row < rows) {
            const int64_t rest = rows - row;
            const float *from = left + row * left_stride;
            float *to = sum + row * sum_stride + column;
            // Tiles as equal as possible: 8 rows are better done as 4 + 4 than as 6 + 2.
            const int64_t tiles = (rest + TILE_ROWS - 1) / TILE_ROWS;
            const int64_t height = (rest + tiles - 1) / tiles;
            switch (height) {
                case 1: multiply_panel<1>(from, left_stride, panel, depth, vectors, to, sum_stride); break;
                case 2: multiply_panel<2>(from, left_stride, panel, depth, vectors, to, sum_stride); break;
                case 3: multiply_panel<3>(from, left_stride, panel, depth, vectors, to, sum_stride); break;
#if TILE_ROWS > 4
                case 4: multiply_panel<4>(from, left_stride, panel, depth, vectors, to, sum_stride); break;
                case 5: multiply_panel<5>(from, left_stride, panel, depth, vectors, to, sum_stride); break;
#endif
                default: multiply_panel<TILE_ROWS>(from, left_stride, panel, depth, vectors, to, sum_stride);
            }
            row += height;
        }
    }
}

// Lays a matrix (depth x columns, element (i, j) at from[i * inner + j * outer]) out in panels of columns, padded with zeros.
static void pack(const float *from, int64_t depth, int64_t columns, int64_t inner, int64_t outer, float *packed) {
    const int64_t all = padded(columns);
    for (int64_t column = 0; column < all; column += kPanel) {
        const int64_t width = all - column < kPanel ? all - column : kPanel;
        float *panel = packed + column * depth;
        const int64_t filled = columns - column < width ? columns - column : width;
        // In blocks, so that both sides stay in cache when the matrix is transposed on the way.
        for (int64_t block = 0; block < depth; block += 16) {
            const int64_t end = block + 16 < depth ? block + 16 : depth;
            for (int64_t j = 0; j < filled; ++j)
                for (int64_t i = block; i < end; ++i) panel[i * width + j] = from[i * inner + (column + j) * outer];
            for (int64_t i = block; i < end; ++i)
                for (int64_t j = filled; j < width; ++j) panel[i * width + j] = 0.0f;
        }
    }
}

// Applies `function` to whole vectors of `count` elements; the last, partial one goes through a copy.
template <typename Function>
static inline void for_vectors(int64_t count, Function function) {
    int64_t index = 0;
    for (; index + LANES <= count; index += LANES) function(index, LANES);
    if (index < count) function(index, count - index);
}

static inline Vector load_part(const float *from, int64_t count) {
    if (count == LANES) return load(from);
    Vector value{};
    for (int64_t index = 0; index < count; ++index) value[index] = from[index];
    return value;
}

static inline void store_part(float *to, Vector value, int64_t count) {
    if (count == LANES) return store(to, value);
    for (int64_t index = 0; index < count; ++index) to[index] = value[index];
}

// Floats of scratch for a group of people: the packed weights, two arrays of one step, the factors of low rank, the rates' gradients.
static int64_t scratch_floats(const Sizes &z, int64_t people) {
    const int64_t widest = padded(z.rows), factors = padded(z.rank) * widest + z.rank * widest;
    return widest * padded(z.hidden) + people * (2 * z.segments * widest + factors + padded(z.hidden)) + z.segments * padded(z.rank) + 64;
}

// One person's change of low rank to the shared weights, in the layout of `multiply`: outer(inner(x)), where inner has `rank` columns.
struct Factors {
    const float *inner, *outer;
    int64_t depth, rank, width;
    float *projection;

    // sum(rows x width) += (left(rows x depth) * inner) * outer
    void add(const float *left, int64_t left_stride, float *sum, int64_t rows) const {
        const int64_t columns = padded(rank);
        std::memset(projection, 0, sizeof(float) * rows * columns);
        multiply(left, left_stride, inner, depth, columns, projection, columns, rows);
        multiply(projection, columns, outer, rank, width, sum, width, rows);
    }
};

// Takes a row of one segment from sums to the next state.
static inline void activate(const Sizes &z, const float *drive, const float *rate, const float *noise, const float *old,
                            float *active, float *now) {
    const int64_t N = z.hidden;
    for_vectors(N, [&](int64_t n, int64_t count) {
        Vector value;
        if (z.cell == kGated) {
            const Vector gate = logistic(load_part(drive + n, count));
            const Vector candidate = hyperbolic_tangent(load_part(drive + N + n, count));
            store_part(active + n, gate, count);
            store_part(active + N + n, candidate, count);
            const Vector state = load_part(old + n, count);
            value = state + gate * (candidate - state);
        } else {
            value = hyperbolic_tangent(load_part(drive + n, count));
            if (active) store_part(active + n, value, count);
            if (z.cell == kLeaky) {
                const Vector state = load_part(old + n, count);
                value = state + load_part(rate + n, count) * (value - state);
            }
        }
        if (noise) value += load_part(noise + n, count);
        store_part(now + n, value, count);
    });
}

// Takes a row's gradient from a state to the sums of that step (`to`) and, without their products, to the state before (`kept`).
static inline void differentiate(const Sizes &z, const float *outer, const float *rate, const float *old, const float *active,
                                 float *to, float *kept, float *rate_gradient) {
    const int64_t N = z.hidden;
    for_vectors(N, [&](int64_t n, int64_t count) {
        const Vector gradient = load_part(outer + n, count) + load_part(kept + n, count);
        if (z.cell == kGated) {
            const Vector gate = load_part(active + n, count), candidate = load_part(active + N + n, count);
            const Vector moved = gradient * gate;
            store_part(to + n, gradient * (candidate - load_part(old + n, count)) * gate * (1.0f - gate), count);
            store_part(to + N + n, moved * (1.0f - candidate * candidate), count);
            store_part(kept + n, gradient - moved, count);
            return;
        }
        const Vector value = load_part(active + n, count);
        Vector moved = gradient;
        if (z.cell == kLeaky) {
            moved = gradient * load_part(rate + n, count);
            const Vector share = gradient * (value - load_part(old + n, count));
            store_part(rate_gradient + n, load_part(rate_gradient + n, count) + share, count);
        }
        store_part(to + n, moved * (1.0f - value * value), count);
        store_part(kept + n, gradient - moved, count);
    });
}

// All steps of some people, from `first` on: one person with own weights, or several with shared ones.
static void forward(const Sizes &z, const ForwardArrays &arrays, int64_t first, int64_t people, float *scratch) {
    const int64_t width = padded(z.rows), N = z.hidden, G = z.rows, K = z.segments, Q = z.rank, rows = people * K;
    float *packed = scratch, *sum = packed + width * padded(N), *state = sum + rows * width, *factors = state + rows * width;
    float *projection = factors + people * (padded(Q) * width + Q * width);
    // Sums = state * W^T: element (n, g) of W^T is W[g, n].
    pack(Q ? arrays.shared_GN : arrays.weights_SGN + first * G * N, N, G, 1, N, packed);
    auto factors_of = [&](int64_t person) {
        float *inner = factors + person * (padded(Q) * width + Q * width);
        return Factors{inner, inner + padded(Q) * width, N, Q, width, projection};
    };
    for (int64_t person = 0; Q && person < people; ++person) {
        const Factors own = factors_of(person);
        pack(arrays.right_SNQ + (first + person) * N * Q, N, Q, Q, 1, const_cast<float *>(own.inner));
        pack(arrays.left_SGQ + (first + person) * G * Q, Q, G, 1, Q, const_cast<float *>(own.outer));
    }
    std::memset(sum, 0, sizeof(float) * rows * width);
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t person = row / K, segment = row % K;
        float *begin = arrays.state_STKN + ((first + person) * (z.steps + 1) * K + segment) * N;
        if (arrays.initial_SKN)
            std::memcpy(begin, arrays.initial_SKN + (first * K + row) * N, sizeof(float) * N);
        else
            std::memset(begin, 0, sizeof(float) * N);
        std::memcpy(state + row * N, begin, sizeof(float) * N);
    }
    for (int64_t step = 0; step < z.steps; ++step) {
        auto place = [&](int64_t row) { return ((first + row / K) * z.steps + step) * K + row % K; };
        for (int64_t row = 0; row < rows; ++row) {
            std::memcpy(sum + row * width, arrays.drive_STKG + place(row) * G, sizeof(float) * G);
            for (int64_t g = G; g < width; ++g) sum[row * width + g] = 0.0f;
        }
        multiply(state, N, packed, N, width, sum, width, rows);
        for (int64_t person = 0; Q && person < people; ++person)
            factors_of(person).add(state + person * K * N, N, sum + person * K * width, K);
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t subject = first + row / K;
            const float *rate = arrays.rate_SN ? arrays.rate_SN + subject * N : nullptr;
            const float *noise = arrays.noise_STKN ? arrays.noise_STKN + place(row) * N : nullptr;
            float *active = arrays.active_STKG ? arrays.active_STKG + place(row) * G : nullptr;
            // There is one state more than steps.
            float *now = arrays.state_STKN + (place(row) + (subject + 1) * K) * N;
            activate(z, sum + row * width, rate, noise, state + row * N, active, now);
            std::memcpy(state + row * N, now, sizeof(float) * N);
        }
    }
}

static void backward(const Sizes &z, const BackwardArrays &arrays, int64_t first, int64_t people, float *scratch) {
    const int64_t width = padded(z.hidden), N = z.hidden, G = z.rows, K = z.segments, Q = z.rank, rows = people * K;
    const int64_t widest = padded(G), factor_floats = padded(Q) * widest + Q * widest;
    float *packed = scratch, *carry = packed + widest * width, *gradient = carry + rows * widest, *factors = gradient + rows * widest;
    float *projection = factors + people * factor_floats, *rate_gradient = projection + K * padded(Q);
    // The state's gradient = gradient of the sums * W.
    pack(Q ? arrays.shared_GN : arrays.weights_SGN + first * G * N, G, N, N, 1, packed);
    auto factors_of = [&](int64_t person) {
        float *inner = factors + person * factor_floats;
        return Factors{inner, inner + padded(Q) * widest, G, Q, width, projection};
    };
    for (int64_t person = 0; Q && person < people; ++person) {
        const Factors own = factors_of(person);
        pack(arrays.left_SGQ + (first + person) * G * Q, G, Q, Q, 1, const_cast<float *>(own.inner));
        pack(arrays.right_SNQ + (first + person) * N * Q, Q, N, 1, Q, const_cast<float *>(own.outer));
    }
    std::memset(carry, 0, sizeof(float) * rows * width);
    std::memset(rate_gradient, 0, sizeof(float) * people * width);
    for (int64_t step = z.steps - 1; step >= 0; --step) {
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t subject = first + row / K, place = (subject * z.steps + step) * K + row % K;
            const float *rate = arrays.rate_SN ? arrays.rate_SN + subject * N : nullptr;
            const float *old = arrays.state_STKN + (place + subject * K) * N;
            // Without an array of its own the activation is the state after the step.
            const float *active = arrays.active_STKG ? arrays.active_STKG + place * G : old + K * N;
            differentiate(z, arrays.outer_STKN + place * N, rate, old, active, gradient + row * G, carry + row * width,
                          rate_gradient + row / K * width);
            std::memcpy(arrays.drive_gradient_STKG + place * G, gradient + row * G, sizeof(float) * G);
        }
        if (step == 0 && !arrays.initial_gradient_SKN) break;
        multiply(gradient, G, packed, G, width, carry, width, rows);
        for (int64_t person = 0; Q && person < people; ++person)
            factors_of(person).add(gradient + person * K * G, G, carry + person * K * width, K);
    }
    for (int64_t row = 0; arrays.initial_gradient_SKN && row < rows; ++row)
        std::memcpy(arrays.initial_gradient_SKN + (first * K + row) * N, carry + row * width, sizeof(float) * N);
    for (int64_t person = 0; arrays.rate_gradient_SN && person < people; ++person)
        std::memcpy(arrays.rate_gradient_SN + (first + person) * N, rate_gradient + person * width, sizeof(float) * N);
}

#undef LANES
#undef TILE_ROWS
#undef TILE_VECTORS
