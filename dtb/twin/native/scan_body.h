// One person's recurrence, for one instruction set; scan.cpp includes this inside a namespace with
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
static inline void multiply_rows(const float *left, int64_t left_stride, const float *packed, int64_t depth, int64_t columns,
                                 float *sum, int64_t sum_stride) {
    for (int64_t column = 0; column < columns; column += kPanel) {
        const float *panel = packed + column * depth;
        const int64_t vectors = (columns - column < kPanel ? columns - column : kPanel) / LANES;
        switch (vectors) {
            case 1: multiply_tile<ROWS, 1>(left, left_stride, panel, depth, sum + column, sum_stride); break;
#if TILE_VECTORS > 2
            case 2: multiply_tile<ROWS, 2>(left, left_stride, panel, depth, sum + column, sum_stride); break;
            case 3: multiply_tile<ROWS, 3>(left, left_stride, panel, depth, sum + column, sum_stride); break;
#endif
            default: multiply_tile<ROWS, TILE_VECTORS>(left, left_stride, panel, depth, sum + column, sum_stride);
        }
    }
}

// sum(rows x columns) += left(rows x depth) * packed(depth x columns); columns is a multiple of LANES.
static void multiply(const float *left, int64_t left_stride, const float *packed, int64_t depth, int64_t columns, float *sum,
                     int64_t sum_stride, int64_t rows) {
    int64_t row = 0;
    while (row < rows) {
        const int64_t rest = rows - row;
        const float *from = left + row * left_stride;
        float *to = sum + row * sum_stride;
        // Tiles as equal as possible: 8 rows are better done as 4 + 4 than as 6 + 2.
        const int64_t tiles = (rest + TILE_ROWS - 1) / TILE_ROWS;
        const int64_t height = (rest + tiles - 1) / tiles;
        switch (height) {
            case 1: multiply_rows<1>(from, left_stride, packed, depth, columns, to, sum_stride); break;
            case 2: multiply_rows<2>(from, left_stride, packed, depth, columns, to, sum_stride); break;
            case 3: multiply_rows<3>(from, left_stride, packed, depth, columns, to, sum_stride); break;
#if TILE_ROWS > 4
            case 4: multiply_rows<4>(from, left_stride, packed, depth, columns, to, sum_stride); break;
            case 5: multiply_rows<5>(from, left_stride, packed, depth, columns, to, sum_stride); break;
#endif
            default: multiply_rows<TILE_ROWS>(from, left_stride, packed, depth, columns, to, sum_stride);
        }
        row += height;
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

static int64_t scratch_floats(const Sizes &z) {
    const int64_t widest = padded(z.rows);
    // The packed weights, one step of sums, and the rate's gradient.
    return padded(z.rows) * padded(z.hidden) + z.segments * widest + 2 * widest + 64;
}

static void forward(const Sizes &z, const ForwardArrays &arrays, int64_t subject, float *scratch) {
    const int64_t width = padded(z.rows), N = z.hidden, G = z.rows, K = z.segments;
    float *packed = scratch, *sum = scratch + width * padded(N);
    // Drive = state * W^T: element (n, g) of W^T is W[g, n].
    pack(arrays.weights_SGN + subject * G * N, N, G, 1, N, packed);
    const float *rate = arrays.rate_SN ? arrays.rate_SN + subject * N : nullptr;
    float *states = arrays.state_STKN + subject * (z.steps + 1) * K * N;
    if (arrays.initial_SKN)
        std::memcpy(states, arrays.initial_SKN + subject * K * N, sizeof(float) * K * N);
    else
        std::memset(states, 0, sizeof(float) * K * N);
    for (int64_t step = 0; step < z.steps; ++step) {
        const int64_t place = subject * z.steps + step;
        const float *before = states + step * K * N;
        float *after = states + (step + 1) * K * N;
        for (int64_t k = 0; k < K; ++k) {
            std::memcpy(sum + k * width, arrays.drive_STKG + (place * K + k) * G, sizeof(float) * G);
            for (int64_t g = G; g < width; ++g) sum[k * width + g] = 0.0f;
        }
        multiply(before, N, packed, N, width, sum, width, K);
        for (int64_t k = 0; k < K; ++k) {
            const float *drive = sum + k * width, *old = before + k * N;
            const float *noise = arrays.noise_STKN ? arrays.noise_STKN + (place * K + k) * N : nullptr;
            float *active = arrays.active_STKG ? arrays.active_STKG + (place * K + k) * G : nullptr;
            float *now = after + k * N;
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
    }
}

static void backward(const Sizes &z, const BackwardArrays &arrays, int64_t subject, float *scratch) {
    const int64_t width = padded(z.hidden), N = z.hidden, G = z.rows, K = z.segments;
    float *packed = scratch, *carry = scratch + padded(z.rows) * width, *rate_gradient = carry + K * padded(z.rows);
    // The state's gradient = drive gradient * W.
    pack(arrays.weights_SGN + subject * G * N, G, N, N, 1, packed);
    const float *rate = arrays.rate_SN ? arrays.rate_SN + subject * N : nullptr;
    std::memset(carry, 0, sizeof(float) * K * width);
    std::memset(rate_gradient, 0, sizeof(float) * width);
    for (int64_t step = z.steps - 1; step >= 0; --step) {
        const int64_t place = subject * z.steps + step;
        const float *before = arrays.state_STKN + (subject * (z.steps + 1) + step) * K * N;
        float *drive_gradient = arrays.drive_gradient_STKG + place * K * G;
        for (int64_t k = 0; k < K; ++k) {
            const float *outer = arrays.outer_STKN + (place * K + k) * N, *old = before + k * N;
            // Without an array of its own the activation is the state after the step.
            const float *active = arrays.active_STKG ? arrays.active_STKG + (place * K + k) * G : old + K * N;
            float *to = drive_gradient + k * G, *kept = carry + k * width;
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
        if (step > 0 || arrays.initial_gradient_SKN) multiply(drive_gradient, G, packed, G, width, carry, width, K);
    }
    if (arrays.initial_gradient_SKN)
        for (int64_t k = 0; k < K; ++k)
            std::memcpy(arrays.initial_gradient_SKN + (subject * K + k) * N, carry + k * width, sizeof(float) * N);
    if (arrays.rate_gradient_SN) std::memcpy(arrays.rate_gradient_SN + subject * N, rate_gradient, sizeof(float) * N);
}

#undef LANES
#undef TILE_ROWS
#undef TILE_VECTORS
