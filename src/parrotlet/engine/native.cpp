// The model's forward pass for generation on a CPU, in one call: `native.py` compiles this for the machine it runs on.
//
//     N tokens of a pass = B rows × T positions, C width, H heads, K key/value heads, D head width, F hidden units
//
// Every number is added up in an order that does not depend on how many rows or threads there are: so a token's scores
// are the same to the last bit whatever else is in the pass. Weights, what they multiply, queries, keys and values are
// float32 or bfloat16; all the rest is float32.

#include "../cpp/lanes.h"

#include <atomic>

constexpr int64_t REACH = 3;  // of a short convolution
constexpr int64_t NGRAM = 3;  // tokens of the longest n-gram

struct Layer {
    const void *qkv, *out, *up, *down;
};

struct Pass {
    int64_t depth, width, heads, kv_heads, head_dim, hidden, vocab;
    int64_t ngrams, ngram_factors[NGRAM];  // rows of the embedding of n-grams, 0: none; the factors of their hash
    int64_t rows, slots, threads;
    float eps;
    const Layer* layers;
    const void* head;
    const float *embedding, *ngram;
    const float *shares, *cos, *sin;  // shares: (1 + depth, REACH, C), null without; cos, sin: (slots, D / 2)
    void *keys, *values;                          // (depth, rows, K, slots, D), in the dtype of the weights
    float* convolved;                             // (1 + depth, rows, slots, C): what short convolutions were given
    int64_t* fed;                                 // (rows, slots): tokens
    int64_t first_row, B, T;
    const int64_t *tokens, *positions;  // (B, T) each
    float* scores;                      // (B, vocab in whole groups), after the last position of each row; null: none
};

template <class Type> class Forward {
    typedef typename Type::Stored Stored;
    typedef typename Type::Unit Unit;
    static constexpr int64_t PAD = 64 / sizeof(Stored);  // so that rows do not share the same few lines of the cache

    const Pass& p;
    int64_t N = p.B * p.T, C = p.width, D = p.head_dim, F = p.hidden, qkv_width = C + 2 * p.kv_heads * D;
    int64_t qkv_stride = whole(qkv_width);
    std::vector<float> x = std::vector<float>(N * whole(C)), qkv = std::vector<float>(N * qkv_stride);
    std::vector<Stored> normed = std::vector<Stored>(N * (C + PAD));
    std::vector<Stored> y = std::vector<Stored>(N * (C + PAD));  // queries, then what attention gives
    std::vector<Stored> hidden = std::vector<Stored>(N * (whole(F) + PAD));
    std::atomic<int> arrived{0}, passed{0};

    static int64_t whole(int64_t outputs) { return ::whole(outputs, GROUP); }

   public:
    explicit Forward(const Pass& pass) : p(pass) {}

    void run() {
        in_threads(p.threads, [this](int64_t me) { work(me); });
    }

   private:
    void work(int64_t me) {
        int phase = 0;
        std::vector<float> weights(p.slots + LANES);
        if (p.ngrams) {
            each(me, N, [&](int64_t n) { fed(n) = p.tokens[n]; });
            wait(++phase);
        }
        if (p.shares) {
            each(me, N, [&](int64_t n) { embedding(n, given(0, n, 0)); });
            wait(++phase);
        }
        each(me, N, [&](int64_t n) { embed(n); });
        wait(++phase);
        for (int64_t l = 0; l < p.depth; ++l) {
            const Layer& layer = p.layers[l];
            each(me, N, [&](int64_t n) { norm(n, &normed[n * (C + PAD)]); });
            wait(++phase);
            linear(me, normed.data(), C + PAD, N, layer.qkv, C, qkv_width, [&](int64_t n, int64_t at, Lanes a, Lanes b) {
                put(&qkv[n * qkv_stride + at], a, b);
            });
            wait(++phase);
            each(me, N * (p.heads + 2 * p.kv_heads), [&](int64_t i) { turn(l, i); });
            wait(++phase);
            each(me, N * p.heads, [&](int64_t i) { attend(l, i, weights.data()); });
            wait(++phase);
            auto add = [&](int64_t n, int64_t at, Lanes a, Lanes b) {
                float* to = &x[n * whole(C) + at];
                put(to, load<Lanes>(to) + a, load<Lanes>(to + LANES) + b);
            };
            linear(me, y.data(), C + PAD, N, layer.out, C, C, add);
            wait(++phase);
            if (p.shares) {
                each(me, N, [&](int64_t n) { scaled(n, [&](int64_t c, float value) { given(l + 1, n, 0)[c] = value; }); });
                wait(++phase);
                std::vector<float> row(C);
                each(me, N, [&](int64_t n) {
                    convolve(l + 1, n, row.data());
                    for (int64_t c = 0; c < C; ++c) normed[n * (C + PAD) + c] = Type::store(row[c]);
                });
            } else {
                each(me, N, [&](int64_t n) { norm(n, &normed[n * (C + PAD)]); });
            }
            wait(++phase);
            linear(me, normed.data(), C + PAD, N, layer.up, C, F, [&](int64_t n, int64_t at, Lanes a, Lanes b) {
                a = a > 0.0f ? a * a : Lanes{}, b = b > 0.0f ? b * b : Lanes{};
                Stored* to = &hidden[n * (whole(F) + PAD) + at];
                Type::store(to, a), Type::store(to + LANES, b);
            });
            wait(++phase);
            linear(me, hidden.data(), whole(F) + PAD, N, layer.down, F, C, add);
            wait(++phase);
        }
        if (!p.scores) return;
        each(me, p.B, [&](int64_t b) { norm((b + 1) * p.T - 1, &normed[b * (C + PAD)]); });
        wait(++phase);
        linear(me, normed.data(), C + PAD, p.B, p.head, C, p.vocab, [&](int64_t b, int64_t at, Lanes first, Lanes second) {
            put(p.scores + b * whole(p.vocab) + at, first, second);
        });
    }

    static void put(float* to, Lanes a, Lanes b) { ::put(to, a), ::put(to + LANES, b); }

    // Until all threads have come here as many times.
    void wait(int phase) {
        if (arrived.fetch_add(1) + 1 == phase * p.threads) {
            passed.store(phase);
            passed.notify_all();
            return;
        }
        for (int tries = 0; tries < 10000; ++tries)
            if (passed.load() == phase) return;
        passed.wait(phase - 1);  // asleep: others need the core
    }

    template <class Do> void each(int64_t me, int64_t count, Do work) {
        for (int64_t i = me; i < count; i += p.threads) work(i);
    }

    // This thread's share of rows times a matrix: store(row, first output, half of a group, the other half).
    template <class Store>
    void linear(int64_t me, const Stored* in, int64_t stride, int64_t rows, const void* matrix, int64_t inputs,
                int64_t outputs, Store store) {
        int64_t groups = whole(outputs) / GROUP, units = inputs * sizeof(Stored) / sizeof(Unit);
        stride = stride * sizeof(Stored) / sizeof(Unit);
        for (int64_t g = me * groups / p.threads; g < (me + 1) * groups / p.threads; ++g)
            times_group<Type>((const Unit*)in, stride, rows, (const Unit*)matrix + g * GROUP * units, units,
                              [&](int64_t n, Lanes a, Lanes b) { store(n, g * GROUP, a, b); });
    }

    // Where token n is kept among those that were fed.
    int64_t& fed(int64_t n) const { return p.fed[(p.first_row + n / p.T) * p.slots + p.positions[n]]; }

    void embedding(int64_t n, float* to) const {
        memcpy(to, p.embedding + p.tokens[n] * C, C * sizeof(float));
        if (!p.ngrams) return;
        int64_t hash = p.tokens[n] * p.ngram_factors[0];
        for (int64_t back = 1; back <= std::min(NGRAM - 1, p.positions[n]); ++back) {
            hash += ((&fed(n))[-back] + 1) * p.ngram_factors[back];
            const float* row = p.ngram + hash % p.ngrams * C;
            for (int64_t c = 0; c < C; ++c) to[c] += row[c];
        }
    }

    void embed(int64_t n) {
        float* to = &x[n * whole(C)];
        if (p.shares) convolve(0, n, to);
        else embedding(n, to);
        float scale = inverse_rms(to, C);
        for (int64_t c = 0; c < C; ++c) to[c] *= scale;
    }

    // What the convolution of a layer (0: of the embedding) was given `back` tokens before token n.
    float* given(int64_t layer, int64_t n, int64_t back) const {
        int64_t row = p.first_row + n / p.T;
        return p.convolved + ((layer * p.rows + row) * p.slots + p.positions[n] - back) * C;
    }

    void convolve(int64_t layer, int64_t n, float* to) const {
        memcpy(to, given(layer, n, 0), C * sizeof(float));
        for (int64_t back = 1; back <= std::min(REACH, p.positions[n]); ++back) {
            const float *shares = p.shares + (layer * REACH + back - 1) * C, *before = given(layer, n, back);
            for (int64_t c = 0; c < C; ++c) to[c] += shares[c] * before[c];
        }
    }

    float inverse_rms(const float* from, int64_t n) const { return 1 / std::sqrt(dot<Float32>(from, from, n) / n + p.eps); }

    // The residual stream of token n, normed: store(channel, value).
    template <class Store> void scaled(int64_t n, Store store) const {
        const float* from = &x[n * whole(C)];
        float scale = inverse_rms(from, C);
        for (int64_t c = 0; c < C; ++c) store(c, from[c] * scale);
    }

    void norm(int64_t n, Stored* to) const {
        scaled(n, [&](int64_t c, float value) { to[c] = Type::store(value); });
    }

    Stored* slot(void* memory, int64_t layer, int64_t n, int64_t head, int64_t position) const {
        int64_t row = p.first_row + n / p.T;
        return (Stored*)memory + (((layer * p.rows + row) * p.kv_heads + head) * p.slots + position) * D;
    }

    // Queries and keys are turned and normed; keys and values go into the memory.
    void turn(int64_t layer, int64_t i) {
        int64_t n = i / (p.heads + 2 * p.kv_heads), head = i % (p.heads + 2 * p.kv_heads), position = p.positions[n];
        float* from = &qkv[n * qkv_stride + head * D];
        if (head >= p.heads + p.kv_heads) {
            write(slot(p.values, layer, n, head - p.heads - p.kv_heads, position), from, 1);
            return;
        }
        const float *cos = p.cos + position * (D / 2), *sin = p.sin + position * (D / 2);
        for (int64_t d = 0; d < D / 2; ++d) {
            float a = from[d], b = from[d + D / 2];
            from[d] = a * cos[d] + b * sin[d];
            from[d + D / 2] = b * cos[d] - a * sin[d];
        }
        bool query = head < p.heads;
        write(query ? &y[n * (C + PAD) + head * D] : slot(p.keys, layer, n, head - p.heads, position), from, inverse_rms(from, D));
    }

    void write(Stored* to, const float* from, float scale) const {
        for (int64_t d = 0; d < D; ++d) to[d] = Type::store(from[d] * scale);
    }

    // Softmax attention of one head of one token, which takes the place of its query. `weights`: room for all slots.
    void attend(int64_t layer, int64_t i, float* weights) {
        int64_t n = i / p.heads, head = i % p.heads, slots = p.positions[n] + 1;
        Stored* query = &y[n * (C + PAD) + head * D];
        const Stored* keys = slot(p.keys, layer, n, head / (p.heads / p.kv_heads), 0);
        const Stored* values = slot(p.values, layer, n, head / (p.heads / p.kv_heads), 0);
        float factor = 1 / std::sqrt((float)D);
        Lanes most = Lanes{} - INFINITY, total = {};
        for (int64_t s = 0; s < slots; s += LANES) {
            for (int64_t d = 0; d < LANES * D; d += 64 / sizeof(Stored)) __builtin_prefetch(values + s * D + d);
            Lanes x = score(query, keys + s * D, std::min(LANES, slots - s)) * factor;
            most = x > most ? x : most;
            ::put(weights + s, x);
        }
        float largest = ::largest(most);
        for (int64_t s = 0; s < slots; s += LANES) {
            Lanes e = exponential(load<Lanes>(weights + s) - largest);
            ::put(weights + s, e);
            total += e;
        }
        float scale = 1 / sum(total);
        int64_t d = 0;
        for (; d + 8 * LANES <= D; d += 8 * LANES) mix<8>(weights, scale, values + d, slots, query + d);
        for (; d + 4 * LANES <= D; d += 4 * LANES) mix<4>(weights, scale, values + d, slots, query + d);
        for (; d + LANES <= D; d += LANES) mix<1>(weights, scale, values + d, slots, query + d);
        for (; d < D; ++d) {
            float mixed = 0;
            for (int64_t s = 0; s < slots; ++s) mixed += weights[s] * Type::widen(values[s * D + d]);
            query[d] = Type::store(mixed * scale);
        }
    }

    // The query times each of up to LANES keys; -infinity for those that are not there.
    Lanes score(const Stored* query, const Stored* keys, int64_t count) const {
        Lanes products[LANES] = {};
        int64_t whole = D / Type::AT_ONCE * Type::AT_ONCE;
        for (int64_t s = 0; s < count; ++s)
            for (int64_t d = 0; d < whole; d += Type::AT_ONCE) products[s] = Type::dot(products[s], query + d, keys + s * D + d);
        Lanes scores = sums(products);
        for (int64_t s = 0; s < count; ++s)
            for (int64_t d = whole; d < D; ++d) scores[s] += Type::widen(query[d]) * Type::widen(keys[s * D + d]);
        for (int64_t s = count; s < LANES; ++s) scores[s] = -INFINITY;
        return scores;
    }

    template <int P> void mix(const float* weights, float scale, const Stored* values, int64_t slots, Stored* to) const {
        Lanes mixed[P] = {};
        for (int64_t s = 0; s < slots; ++s)
            for (int j = 0; j < P; ++j) mixed[j] += weights[s] * Type::widen(values + s * D + j * LANES);
        for (int j = 0; j < P; ++j) Type::store(to + j * LANES, mixed[j] * scale);
    }
};

extern "C" int64_t outputs_in_a_group() { return GROUP; }
extern "C" void forward_float32(const Pass* pass) { Forward<Float32>(*pass).run(); }
extern "C" void forward_bfloat16(const Pass* pass) { Forward<Bfloat16>(*pass).run(); }
