// Vectors as wide as the processor's, what matrices multiply, and a piece of a matrix product: for `engine/native.cpp` and
// `model/kernels.cpp`.
//
// Every number is added up in an order that does not depend on how many threads there are; in `times_group` not on how
// many rows either. (`multiply` takes some rows by the processor's tiles, where it has them, and the rest by lanes.)

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define TILES
#endif

#if defined(__AVX512F__)
constexpr int64_t LANES = 16, ROWS = 8;  // numbers in a vector; rows at a time: as many sums as there are registers for
#elif defined(__AVX2__)
constexpr int64_t LANES = 8, ROWS = 6;
#elif defined(__aarch64__)
constexpr int64_t LANES = 4, ROWS = 8;
#else
constexpr int64_t LANES = 4, ROWS = 6;
#endif
constexpr int64_t GROUP = 2 * LANES;  // outputs of a matrix lie in groups

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Pairs __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

inline int64_t whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class V> V load(const void* from) {
    V lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

template <class V> void put(void* to, V lanes) { memcpy(to, &lanes, sizeof lanes); }

template <int64_t FIRST, class V, size_t... I> V zip(V a, V b, std::index_sequence<I...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, (FIRST + I / 2 + I % 2 * LANES)...);
#else
    return __builtin_shuffle(a, b, Ints{(int32_t)(FIRST + I / 2 + I % 2 * LANES)...});
#endif
}

// Half of the lanes of each of two, from FIRST on, by turns.
template <int64_t FIRST, class V> V zip(V a, V b) { return zip<FIRST>(a, b, std::make_index_sequence<LANES>()); }

template <class Combine> float reduce(Lanes v, Combine combine) {  // halves upon halves
    float lanes[LANES];
    put(lanes, v);
    for (int64_t half = LANES / 2; half; half /= 2)
        for (int64_t i = 0; i < half; ++i) lanes[i] = combine(lanes[i], lanes[i + half]);
    return lanes[0];
}

inline float sum(Lanes v) {
    return reduce(v, [](float a, float b) { return a + b; });
}

inline float largest(Lanes v) {
    return reduce(v, [](float a, float b) { return std::max(a, b); });
}

// The sum of each of as many vectors as there are lanes.
inline Lanes sums(Lanes* v) {
    for (int64_t half = LANES / 2; half; half /= 2)
        for (int64_t i = 0; i < half; ++i) v[i] = zip<0>(v[i], v[i + half]) + zip<LANES / 2>(v[i], v[i + half]);
    return v[0];
}

// e^x for x ≤ 88, within 2 units in the last place: 2^n · e^r with |r| ≤ ln 2 / 2. Below -87 as at -87.
inline Lanes exponential(Lanes x) {
    x = x < -87.0f ? Lanes{} - 87.0f : x;
    Lanes n = x * 1.44269504f + 12582912.0f;  // rounded to a whole number by its size
    n -= 12582912.0f;
    Lanes r = x - n * 0.693145752f - n * 1.42860677e-6f;
    Lanes p = r * 1.98412698e-4f + 1.38888889e-3f;
    for (float c : {8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f, 1.0f, 1.0f}) p = p * r + c;
    return (Lanes)((Ints)p + (__builtin_convertvector(n, Ints) << 23));
}

// What matrices multiply: float32 one by one, bfloat16 in pairs.

struct Float32 {
    typedef float Stored;
    typedef float Unit;
    typedef Lanes Weights;
    static float store(float x) { return x; }
    static void store(Stored* to, Lanes x) { put(to, x); }
    static float widen(Stored x) { return x; }
    static Lanes widen(const Stored* from) { return load<Lanes>(from); }
    static Lanes add(Lanes sum, Lanes w, float x) { return sum + w * x; }
    static constexpr int64_t AT_ONCE = LANES;
    static Lanes dot(Lanes sum, const Stored* a, const Stored* b) { return sum + load<Lanes>(a) * load<Lanes>(b); }
    static Unit joined(Stored first, Stored) { return first; }
};

struct Bfloat16 {
    typedef uint16_t Stored;
    typedef uint32_t Unit;
    typedef Pairs Weights;
    static uint16_t store(float x) {  // to the nearest, ties to even
        uint32_t bits;
        memcpy(&bits, &x, 4);
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    static void store(Stored* to, Lanes x) {
#ifdef __AVX512BF16__
        put(to, _mm512_cvtneps_pbh((__m512)x));  // what is smaller than 1e-38 becomes 0
#else
        Pairs bits = (Pairs)x;
        put(to, __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves));
#endif
    }
    static float widen(Stored x) {
        uint32_t bits = (uint32_t)x << 16;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
    static Lanes widen(const Stored* from) { return (Lanes)(__builtin_convertvector(load<Halves>(from), Pairs) << 16); }
    static Lanes add(Lanes sum, Pairs w, uint32_t x) {
#ifdef __AVX512BF16__
        return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(x));
#else
        uint32_t halves[2] = {x << 16, x & 0xffff0000};
        float xs[2];
        memcpy(xs, halves, 8);
        sum = sum + (Lanes)(w << 16) * xs[0];
        return sum + (Lanes)(w & 0xffff0000) * xs[1];
#endif
    }
    static constexpr int64_t AT_ONCE = 2 * LANES;
    static Lanes dot(Lanes sum, const Stored* a, const Stored* b) {
#ifdef __AVX512BF16__
        return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)load<Pairs>(a), (__m512bh)load<Pairs>(b));
#else
        return sum + widen(a) * widen(b) + widen(a + LANES) * widen(b + LANES);
#endif
    }
    static Unit joined(Stored first, Stored second) { return first | (uint32_t)second << 16; }
};

template <class Type> float dot(const typename Type::Stored* a, const typename Type::Stored* b, int64_t n) {
    Lanes lanes = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) lanes += Type::widen(a + i) * Type::widen(b + i);
    float total = sum(lanes);
    for (; i < n; ++i) total += Type::widen(a[i]) * Type::widen(b[i]);
    return total;
}

// R rows of x times a group of outputs. The sums are nobody else's, so that they stay in registers.
template <class Type, int64_t R>
void products(const typename Type::Unit* x, int64_t stride, const typename Type::Unit* w, int64_t units, Lanes to[R][2]) {
    Lanes sums[R][2] = {};
    for (int64_t k = 0; k < units; ++k) {
        auto w0 = load<typename Type::Weights>(w + GROUP * k), w1 = load<typename Type::Weights>(w + GROUP * k + LANES);
        for (int64_t r = 0; r < R; ++r) {
            sums[r][0] = Type::add(sums[r][0], w0, x[r * stride + k]);
            sums[r][1] = Type::add(sums[r][1], w1, x[r * stride + k]);
        }
    }
    memcpy(to, sums, sizeof sums);
}

// The same: store(row, half of the outputs, the others).
template <class Type, int64_t R, class Store>
void tile(const typename Type::Unit* x, int64_t stride, const typename Type::Unit* w, int64_t units, Store store) {
    Lanes sums[R][2];
    products<Type, R>(x, stride, w, units, sums);
    for (int64_t r = 0; r < R; ++r) store(r, sums[r][0], sums[r][1]);
}

// All rows of x times a group of outputs: store(row, half of the outputs, the others).
template <class Type, class Store>
void times_group(const typename Type::Unit* x, int64_t stride, int64_t rows, const typename Type::Unit* w, int64_t units,
                 Store store) {
    auto from = [&](int64_t n) { return [&, n](int64_t r, Lanes a, Lanes b) { store(n + r, a, b); }; };
    int64_t n = 0;
    for (; n + ROWS <= rows; n += ROWS) tile<Type, ROWS>(x + n * stride, stride, w, units, from(n));
    for (; n + 4 <= rows; n += 4) tile<Type, 4>(x + n * stride, stride, w, units, from(n));
    for (; n < rows; ++n) tile<Type, 1>(x + n * stride, stride, w, units, from(n));
}

// Where the processor has them (AMX): tiles of 16 × 16 sums, multiplied by 16 units at once.
#ifdef TILES
constexpr int64_t TILE = 16;

inline bool tiles_allowed() {  // by the system, which wants to be asked once by a process
    constexpr long ASK = 0x1023, TILE_DATA = 18;
    static const bool allowed = !syscall(SYS_arch_prctl, ASK, TILE_DATA);
    return allowed;
}

// The compiler's own functions don't say which memory they read (GCC 12). Strides count 4 bytes.
template <int N> void load_tile(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0, %1, 4), %%tmm%c2" : : "r"(from), "r"(stride), "i"(N) : "memory");
}
template <int N> void put_tile(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0, %1, 4)" : : "r"(to), "r"(stride), "i"(N) : "memory");
}
template <int N> void clear_tile() { asm volatile("tilezero %%tmm%c0" : : "i"(N)); }
template <int SUMS, int X, int W> void add_product() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUMS), "i"(X), "i"(W));
}

// Eight tiles for this thread; those that others had set up come back at the end.
class Tiles {
    struct Setup {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE};
    };
    Setup before, own;

   public:
    Tiles() {
        if (tiles_allowed()) asm volatile("sttilecfg %0\n\tldtilecfg %1" : "=&m"(before) : "m"(own));
    }
    ~Tiles() {
        if (tiles_allowed()) asm volatile("ldtilecfg %0" : : "m"(before));
    }
    Tiles(const Tiles&) = delete;
};

// One or two times TILE rows of x times a group of outputs; `units` are whole tiles.
template <bool TWO>
void tiles(const uint32_t* x, int64_t stride, const uint32_t* w, int64_t units, bool add, float* to, int64_t to_stride) {
    float* to_second = to + TILE * to_stride;
    clear_tile<0>(), clear_tile<1>(), clear_tile<2>(), clear_tile<3>();
    if (add) load_tile<0>(to, to_stride), load_tile<1>(to + TILE, to_stride);
    if (add && TWO) load_tile<2>(to_second, to_stride), load_tile<3>(to_second + TILE, to_stride);
    for (int64_t k = 0; k < units; k += TILE) {
        load_tile<6>(w + k * GROUP, GROUP), load_tile<7>(w + k * GROUP + TILE, GROUP);
        load_tile<4>(x + k, stride), add_product<0, 4, 6>(), add_product<1, 4, 7>();
        if (TWO) load_tile<5>(x + TILE * stride + k, stride), add_product<2, 5, 6>(), add_product<3, 5, 7>();
    }
    put_tile<0>(to, to_stride), put_tile<1>(to + TILE, to_stride);
    if (TWO) put_tile<2>(to_second, to_stride), put_tile<3>(to_second + TILE, to_stride);
}
#else
struct Tiles {};
#endif

// All rows of x times a group of outputs, into `to` or added to it: by tiles as far as whole ones go. Needs `Tiles`.
template <class Type>
void multiply(const typename Type::Unit* x, int64_t stride, int64_t rows, const typename Type::Unit* w, int64_t units,
              bool add, float* to, int64_t to_stride) {
    auto by_lanes = [&](int64_t row, int64_t end, int64_t unit, bool add) {
        times_group<Type>(x + row * stride + unit, stride, end - row, w + unit * GROUP, units - unit,
                          [&](int64_t r, Lanes a, Lanes z) {
                              float* sums = to + (row + r) * to_stride;
                              if (add) a += load<Lanes>(sums), z += load<Lanes>(sums + LANES);
                              put(sums, a), put(sums + LANES, z);
                          });
    };
#ifdef TILES
    if constexpr (sizeof(typename Type::Stored) == 2) {
        int64_t tiled = units / TILE * TILE, end = rows / TILE * TILE;
        if (tiles_allowed() && tiled && end) {
            for (int64_t row = 0; row < end; row += 2 * TILE)
                (row + TILE < end ? tiles<true> : tiles<false>)(x + row * stride, stride, w, tiled, add,
                                                                to + row * to_stride, to_stride);
            if (tiled < units) by_lanes(0, end, tiled, true);
            by_lanes(end, rows, 0, add);
            return;
        }
    }
#endif
    by_lanes(0, rows, 0, add);
}

// work(0) … work(threads - 1), each in a thread of its own. On Linux the others keep off the processor of this one:
// when threads wait for each other, the kernel likes to bring them together, where they can only take turns.
template <class Work> void in_threads(int64_t threads, Work work) {
    std::vector<std::thread> others;
#ifdef __linux__
    cpu_set_t elsewhere;
    bool known = threads > 1 && !pthread_getaffinity_np(pthread_self(), sizeof elsewhere, &elsewhere);
    if (known) CPU_CLR(sched_getcpu(), &elsewhere);
    auto move = [&elsewhere, keep_off = known && CPU_COUNT(&elsewhere)] {
        if (keep_off) pthread_setaffinity_np(pthread_self(), sizeof elsewhere, &elsewhere);
    };
#else
    auto move = [] {};
#endif
    for (int64_t i = 1; i < threads; ++i)
        others.emplace_back([&work, move, i] {
            move();
            work(i);
        });
    work(0);
    for (auto& other : others) other.join();
}
