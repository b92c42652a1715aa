// Attention, short convolutions and the cross-entropy's pointwise part, with their gradients, on a CPU: `kernels.py`
// compiles this for the machine it runs on.
//
//     B rows, T positions, H heads, K key/value heads, D head width, C width; N positions, V vocabulary
//
// What matrices multiply is float32 or bfloat16, as it comes; all the rest is float32. Every number is added up in an
// order that does not depend on how many threads there are.

#include "../cpp/lanes.h"

#include <atomic>
#include <memory>
#include <new>

constexpr int64_t BLOCK = 64;  // queries at a time

struct AttentionPass {
    int64_t B, T, heads, kv_heads, head_dim, threads;
    const int64_t* starts;     // (B, T): the first position that each sees, never falling within a row
    const void *q, *k, *v;     // (B, T, H or K, D)
    void* y;                   // (B, T, H, D)
    float* log_sums;           // (B, H, T): of the exponentials of a position's scores
    const void* dy;            // with gradients: that of y, and those wanted
    void *dq, *dk, *dv;
};

// Units of 4 bytes: (rows ≤ LANES, columns) → (columns, LANES), where rows that are not there give 0.
void transpose(const void* from_, int64_t stride, int64_t rows, int64_t columns, void* to_, int64_t to_stride) {
    auto from = (const uint32_t*)from_;
    auto to = (uint32_t*)to_;
    for (int64_t c = 0; c < columns; c += LANES) {
        Pairs a[LANES] = {}, b[LANES];
        int64_t wide = std::min(LANES, columns - c);
        bool full = rows == LANES && wide == LANES;  // sizes known to the compiler: nothing goes through memory
        if (full) for (int64_t r = 0; r < LANES; ++r) a[r] = load<Pairs>(from + r * stride + c);
        else for (int64_t r = 0; r < rows; ++r) memcpy(&a[r], from + r * stride + c, 4 * wide);
        constexpr int64_t HALF = LANES / 2;
        for (int64_t done = 1; done < LANES; done *= 2) {  // what stands half the rows apart moves next to each other
            for (int64_t i = 0; i < HALF; ++i) b[2 * i] = zip<0>(a[i], a[i + HALF]), b[2 * i + 1] = zip<HALF>(a[i], a[i + HALF]);
            memcpy(a, b, sizeof a);
        }
        if (full) for (int64_t i = 0; i < LANES; ++i) put(to + (c + i) * to_stride, a[i]);
        else for (int64_t i = 0; i < wide; ++i) put(to + (c + i) * to_stride, a[i]);
    }
}

constexpr std::align_val_t LINE{64};  // of the processor's cache

struct Release {
    void operator()(void* memory) const { operator delete(memory, LINE); }
};
template <class X> using Buffer = std::unique_ptr<X[], Release>;

// Softmax attention of a block of queries at a time, over the keys that any of them sees.
//
// A matrix that is multiplied lies in groups of outputs: "by X" means that of each group, X runs through the units.
template <class Type> class Attention {
    typedef typename Type::Stored Stored;
    typedef typename Type::Unit Unit;
    static constexpr int64_t PER = sizeof(Unit) / sizeof(Stored), BLOCK_UNITS = BLOCK / PER;

    struct Room {  // of a thread
        Buffer<Unit> keys_by_d, values_by_d, keys_by_t, values_by_t, probs_by_row, dscores_by_row;
        Buffer<Unit> by_row, queries, dys;  // (D, rows of the block)
        Buffer<Stored> probs, dscores;      // (BLOCK, keys)
        Buffer<float> scores, dprobs;       // (BLOCK, keys)
        Buffer<float> mixed;                // (BLOCK, D)
        Buffer<float> dkeys, dvalues;       // (D, keys)
    };

    const AttentionPass& p;
    int64_t T = p.T, D = p.head_dim, D_groups = whole(D, GROUP) / GROUP, D_units = D / PER;
    int64_t keys = whole(T, GROUP), key_units = keys / PER;
    int64_t q_stride = p.heads * D, k_stride = p.kv_heads * D;
    float scale = 1 / std::sqrt((float)D);

   public:
    explicit Attention(const AttentionPass& pass) : p(pass) {}

    void run(bool gradients) {
        int64_t tasks = p.B * p.kv_heads, threads = std::min(p.threads, tasks);
        std::vector<Room> rooms;  // from this thread: another's memory would be given back to the system every time
        for (int64_t i = 0; i < threads; ++i) rooms.push_back(room(gradients));
        std::atomic<int64_t> next{0};
        in_threads(threads, [&](int64_t me) {
            [[maybe_unused]] Tiles tiles;
            for (int64_t task; (task = next++) < tasks;) {
                if (gradients) differentiate(task / p.kv_heads, task % p.kv_heads, rooms[me]);
                else attend(task / p.kv_heads, task % p.kv_heads, rooms[me]);
            }
        });
    }

   private:
    template <class X> static Buffer<X> some(int64_t count) {
        return Buffer<X>((X*)operator new(count * sizeof(X), LINE));
    }

    Room room(bool gradients) const {
        Room m;
        m.keys_by_d = some<Unit>(D_units * keys);
        m.scores = some<float>(BLOCK * keys), m.probs = some<Stored>(BLOCK * keys);
        m.mixed = some<float>(BLOCK * D_groups * GROUP);
        if (!gradients) {
            m.values_by_t = some<Unit>(key_units * D_groups * GROUP);
            return m;
        }
        m.values_by_d = some<Unit>(D_units * keys), m.keys_by_t = some<Unit>(key_units * D_groups * GROUP);
        m.dprobs = some<float>(BLOCK * keys), m.dscores = some<Stored>(BLOCK * keys);
        m.probs_by_row = some<Unit>(BLOCK_UNITS * keys), m.dscores_by_row = some<Unit>(BLOCK_UNITS * keys);
        m.by_row = some<Unit>(BLOCK_UNITS * D_groups * GROUP);
        m.queries = some<Unit>(D * BLOCK_UNITS), m.dys = some<Unit>(D * BLOCK_UNITS);
        m.dkeys = some<float>(D * keys), m.dvalues = some<float>(D * keys);
        return m;
    }

    template <class X> X* of_query(X* from, int64_t b, int64_t t, int64_t head) const { return from + (b * T + t) * q_stride + head * D; }
    template <class X> X* of_key(X* from, int64_t b, int64_t head) const { return from + b * T * k_stride + head * D; }
    int64_t start(int64_t b, int64_t t) const { return p.starts[b * T + t]; }

    void attend(int64_t b, int64_t kv_head, Room& m) const {
        pack_by_d(of_key((const Stored*)p.k, b, kv_head), m.keys_by_d.get());
        pack_by_row(of_key((const Stored*)p.v, b, kv_head), k_stride, T, key_units, D, m.values_by_t.get());
        each_block(b, kv_head, [&](int64_t head, int64_t t, int64_t rows, int64_t first, int64_t end) {
            score((const Stored*)p.q, m.keys_by_d.get(), b, t, head, rows, first, end, m.scores.get());
            float inverse[BLOCK];
            for (int64_t r = 0; r < rows; ++r) {
                float* scores = m.scores.get() + r * keys;
                hide(scores, first, start(b, t + r), t + r + 1, end);
                Lanes most = load<Lanes>(scores + first), total = {};
                for (int64_t s = first; s < end; s += LANES) {
                    Lanes x = load<Lanes>(scores + s);
                    most = x > most ? x : most;
                }
                float maximum = largest(most) * scale;
                for (int64_t s = first; s < end; s += LANES) {
                    Lanes prob = probability(load<Lanes>(scores + s) * scale - maximum);
                    total += prob;
                    Type::store(m.probs.get() + r * keys + s, prob);
                }
                inverse[r] = 1 / sum(total);
                p.log_sums[(b * p.heads + head) * T + t + r] = maximum + std::log(sum(total));
            }
            mix(m.probs.get(), m.values_by_t.get(), rows, first, end, m.mixed.get());
            for (int64_t r = 0; r < rows; ++r) give(m.mixed.get() + r * D_groups * GROUP, inverse[r], of_query((Stored*)p.y, b, t + r, head));
        });
    }

    // d probs = d y · valuesᵀ;  d scores = probs · (d probs - d y · y);  d queries, d keys and d values follow.
    void differentiate(int64_t b, int64_t kv_head, Room& m) const {
        pack_by_d(of_key((const Stored*)p.k, b, kv_head), m.keys_by_d.get());
        pack_by_d(of_key((const Stored*)p.v, b, kv_head), m.values_by_d.get());
        pack_by_row(of_key((const Stored*)p.k, b, kv_head), k_stride, T, key_units, D, m.keys_by_t.get());
        std::fill_n(m.dkeys.get(), D * keys, 0.0f), std::fill_n(m.dvalues.get(), D * keys, 0.0f);
        each_block(b, kv_head, [&](int64_t head, int64_t t, int64_t rows, int64_t first, int64_t end) {
            score((const Stored*)p.q, m.keys_by_d.get(), b, t, head, rows, first, end, m.scores.get());
            score((const Stored*)p.dy, m.values_by_d.get(), b, t, head, rows, first, end, m.dprobs.get());
            for (int64_t r = 0; r < rows; ++r) {
                float* scores = m.scores.get() + r * keys;
                hide(scores, first, start(b, t + r), t + r + 1, end);
                float log_sum = p.log_sums[(b * p.heads + head) * T + t + r];
                const Stored* dy = of_query((const Stored*)p.dy, b, t + r, head);
                float all = dot<Type>(dy, of_query((const Stored*)p.y, b, t + r, head), D);
                for (int64_t s = first; s < end; s += LANES) {
                    Lanes x = load<Lanes>(scores + s) * scale - log_sum, prob = probability(x > 0.0f ? Lanes{} : x);
                    Lanes dscore = prob * (load<Lanes>(m.dprobs.get() + r * keys + s) - all) * scale;
                    Type::store(m.probs.get() + r * keys + s, prob);
                    Type::store(m.dscores.get() + r * keys + s, dscore);
                }
            }
            mix(m.dscores.get(), m.keys_by_t.get(), rows, first, end, m.mixed.get());
            for (int64_t r = 0; r < rows; ++r) give(m.mixed.get() + r * D_groups * GROUP, 1, of_query((Stored*)p.dq, b, t + r, head));
            int64_t units = whole(rows, PER) / PER;
            pack_by_row(m.probs.get() + first, keys, rows, units, end - first, m.probs_by_row.get());
            pack_by_row(m.dscores.get() + first, keys, rows, units, end - first, m.dscores_by_row.get());
            turn(of_query((const Stored*)p.dy, b, t, head), rows, units, m, m.dys.get());
            turn(of_query((const Stored*)p.q, b, t, head), rows, units, m, m.queries.get());
            gather(m.dys.get(), m.probs_by_row.get(), units, first, end, m.dvalues.get());
            gather(m.queries.get(), m.dscores_by_row.get(), units, first, end, m.dkeys.get());
        });
        write(m.dkeys.get(), of_key((Stored*)p.dk, b, kv_head));
        write(m.dvalues.get(), of_key((Stored*)p.dv, b, kv_head));
    }

    // work(head, first query, queries, first key, end of the keys) for the heads that share keys.
    template <class Work> void each_block(int64_t b, int64_t kv_head, Work work) const {
        int64_t shared = p.heads / p.kv_heads;
        for (int64_t head = kv_head * shared; head < (kv_head + 1) * shared; ++head)
            for (int64_t t = 0; t < T; t += BLOCK) {
                int64_t rows = std::min(BLOCK, T - t);
                work(head, t, rows, start(b, t) / GROUP * GROUP, whole(t + rows, GROUP));
            }
    }

    // (T, D) → [group of tokens][unit of d][token], 0 after the last.
    void pack_by_d(const Stored* from, Unit* to) const {
        for (int64_t t = 0; t < keys; t += LANES)
            transpose(from + t * k_stride, k_stride / PER, std::clamp<int64_t>(T - t, 0, LANES), D_units,
                      to + t / GROUP * GROUP * D_units + t % GROUP, GROUP);
    }

    // (rows, columns) → [group of columns][unit of rows][column], 0 after the last.
    static void pack_by_row(const Stored* from, int64_t stride, int64_t rows, int64_t units, int64_t columns, Unit* to) {
        static const Stored none[GROUP] = {};
        for (int64_t c = 0; c < columns; c += GROUP)
            for (int64_t row = 0; row < units * PER; row += PER, to += GROUP) {
                const Stored* first = row < rows ? from + row * stride + c : none;
                const Stored* second = row + PER - 1 < rows ? first + (PER - 1) * stride : none;
                int64_t wide = std::min(GROUP, columns - c);
                for (int64_t i = 0; i < wide; ++i) to[i] = Type::joined(first[i], second[i]);
                std::fill(to + wide, to + GROUP, Unit{});
            }
    }

    // (rows, D) of queries → (D, unit of rows).
    void turn(const Stored* from, int64_t rows, int64_t units, Room& m, Unit* to) const {
        pack_by_row(from, q_stride, rows, units, D, m.by_row.get());
        for (int64_t d = 0; d < D; d += GROUP)
            for (int64_t u = 0; u < units; u += LANES)
                transpose(m.by_row.get() + d * units + u * GROUP, GROUP, std::min(LANES, units - u),
                          std::min(GROUP, D - d), to + d * BLOCK_UNITS + u, BLOCK_UNITS);
    }

    // x · packedᵀ, (rows, keys).
    void score(const Stored* x, const Unit* packed, int64_t b, int64_t t, int64_t head, int64_t rows, int64_t first,
               int64_t end, float* to) const {
        for (int64_t s = first; s < end; s += GROUP)
            multiply<Type>((const Unit*)of_query(x, b, t, head), q_stride / PER, rows, packed + s * D_units, D_units, false,
                           to + s, keys);
    }

    // weights · packed, (rows, whole groups of d).
    void mix(const Stored* weights, const Unit* packed, int64_t rows, int64_t first, int64_t end, float* to) const {
        for (int64_t d = 0; d < D; d += GROUP)
            multiply<Type>((const Unit*)(weights + first), key_units, rows, packed + d * key_units + first / PER * GROUP,
                           (end - first) / PER, false, to + d, D_groups * GROUP);
    }

    // to += turned · packed, (D, keys).
    void gather(const Unit* turned, const Unit* packed, int64_t units, int64_t first, int64_t end, float* to) const {
        for (int64_t s = first; s < end; s += GROUP)
            multiply<Type>(turned, BLOCK_UNITS, D, packed + (s - first) * units, units, true, to + s, keys);
    }

    // (D, keys) → (T, D).
    void write(const float* from, Stored* to) const {
        float turned[LANES * LANES];
        for (int64_t t = 0; t < T; t += LANES)
            for (int64_t d = 0; d < D; d += LANES) {
                int64_t deep = std::min(LANES, D - d);
                transpose(from + d * keys + t, keys, deep, LANES, turned, LANES);
                for (int64_t i = 0; i < std::min(LANES, T - t); ++i) {
                    Stored* there = to + (t + i) * k_stride + d;
                    if (deep == LANES) Type::store(there, load<Lanes>(turned + i * LANES));
                    else for (int64_t j = 0; j < deep; ++j) there[j] = Type::store(turned[i * LANES + j]);
                }
            }
    }

    // factor · from, (D).
    void give(const float* from, float factor, Stored* to) const {
        int64_t d = 0;
        for (; d + LANES <= D; d += LANES) Type::store(to + d, load<Lanes>(from + d) * factor);
        for (; d < D; ++d) to[d] = Type::store(from[d] * factor);
    }

    // Only the keys from `seen` on, before `seen_end`.
    static void hide(float* scores, int64_t first, int64_t seen, int64_t seen_end, int64_t end) {
        std::fill(scores + first, scores + std::max(first, seen), -INFINITY);
        std::fill(scores + seen_end, scores + end, -INFINITY);
    }

    static Lanes probability(Lanes x) { return x < -87.0f ? Lanes{} : exponential(x); }
};

struct CrossEntropyPass {
    int64_t N, V, gradients, threads;
    float softcap;
    const int64_t* targets;  // (N)
    void* scores;            // (N, V), before the soft cap; with `gradients` theirs take their place
    float* losses;           // (N)
};

// With q = e^(-2|x| / cap):  tanh(|x| / cap) = (1 - q) / (1 + q). Capped logits are bounded: no maximum is subtracted.
template <class Type> class CrossEntropy {
    typedef typename Type::Stored Stored;

    const CrossEntropyPass& p;
    int64_t wide = whole(p.V, LANES);

   public:
    explicit CrossEntropy(const CrossEntropyPass& pass) : p(pass) {}

    void run() {
        int64_t threads = std::min(p.threads, p.N);
        auto rooms = std::make_unique_for_overwrite<float[]>(wide * threads);
        in_threads(threads, [&](int64_t me) {
            for (int64_t n = me * p.N / threads; n < (me + 1) * p.N / threads; ++n) row(n, rooms.get() + wide * me);
        });
    }

   private:
    // d loss / d logit = probability - 1 at the target;  d logit / d score = slope = 1 - tanh².
    void row(int64_t n, float* weighted) const {  // exponential · slope
        Stored* scores = (Stored*)p.scores + n * p.V;
        const float softcap = p.softcap;
        int64_t v = 0, target = p.targets[n];
        Lanes total = {};
        for (; v + LANES <= p.V; v += LANES) total += exponentials(Type::widen(scores + v), softcap, weighted + v);
        float all = sum(total), tanh = std::tanh(Type::widen(scores[target]) / softcap);
        if (int64_t rest = p.V - v) {
            Stored last[LANES] = {};
            memcpy(last, scores + v, rest * sizeof(Stored));
            float of_last[LANES];
            put(of_last, exponentials(Type::widen(last), softcap, weighted + v));
            for (int64_t i = 0; i < rest; ++i) all += of_last[i];
        }
        p.losses[n] = std::log(all) - softcap * tanh;
        if (!p.gradients) return;
        float inverse = 1 / all;
        for (v = 0; v + LANES <= p.V; v += LANES) Type::store(scores + v, load<Lanes>(weighted + v) * inverse);
        for (; v < p.V; ++v) scores[v] = Type::store(weighted[v] * inverse);
        scores[target] = Type::store(weighted[target] * inverse - (1 - tanh * tanh));
    }

    static Lanes exponentials(Lanes x, float softcap, float* weighted) {
        Lanes size = x < 0.0f ? -x : x, q = exponential(size * (-2 / softcap)), tanh = (1.0f - q) / (1.0f + q);
        Lanes e = exponential((x < 0.0f ? -tanh : tanh) * softcap);
        put(weighted, e * (1.0f - tanh * tanh));
        return e;
    }
};

constexpr int64_t REACH = 3;  // of a short convolution

struct ConvolutionPass {
    int64_t B, T, C, threads;
    const int64_t* positions;  // (B, T): so many tokens of its text stand before each
    const float* weight;       // (REACH, C)
    const void* x;             // (B, T, C)
    void* y;                   // the same
    const void* dy;            // with gradients: that of y, and those wanted
    void* dx;
    float* dweight;            // (B, REACH, C): of each row
};

// y of a token = x + weight · what x is of the tokens before, the nearest first.
template <class Type> class Convolution {
    typedef typename Type::Stored Stored;

    const ConvolutionPass& p;

   public:
    explicit Convolution(const ConvolutionPass& pass) : p(pass) {}

    void run(bool gradients) {
        int64_t threads = std::min(p.threads, p.B);
        in_threads(threads, [&](int64_t me) {
            for (int64_t b = me * p.B / threads; b < (me + 1) * p.B / threads; ++b) gradients ? backward(b) : forward(b);
        });
    }

   private:
    int64_t reach(int64_t b, int64_t t) const { return std::min({REACH, p.positions[b * p.T + t], t}); }
    int64_t at(int64_t b, int64_t t) const { return (b * p.T + t) * p.C; }

    // do(first channel, widen, store) for as many channels at once as there are lanes, then one by one.
    template <class Do> void channels(Do work) const {
        int64_t c = 0;
        for (; c + LANES <= p.C; c += LANES)
            work(c, [](const Stored* from) { return Type::widen(from); }, [](const float* from) { return load<Lanes>(from); },
                 [](Stored* to, Lanes sum) { Type::store(to, sum); }, [](float* to, Lanes sum) { put(to, sum); });
        for (; c < p.C; ++c)
            work(c, [](const Stored* from) { return Type::widen(*from); }, [](const float* from) { return *from; },
                 [](Stored* to, float sum) { *to = Type::store(sum); }, [](float* to, float sum) { *to = sum; });
    }

    void forward(int64_t b) const {
        auto x = (const Stored*)p.x;
        auto y = (Stored*)p.y;
        for (int64_t t = 0; t < p.T; ++t)
            channels([&, n = at(b, t), before = reach(b, t)](int64_t c, auto widen, auto weight, auto store, auto) {
                auto sum = widen(x + n + c);
                for (int64_t back = 1; back <= before; ++back)
                    sum += weight(p.weight + (back - 1) * p.C + c) * widen(x + n - back * p.C + c);
                store(y + n + c, sum);
            });
    }

    void backward(int64_t b) const {
        auto x = (const Stored*)p.x, dy = (const Stored*)p.dy;
        auto dx = (Stored*)p.dx;
        float* dweight = p.dweight + b * REACH * p.C;
        std::fill(dweight, dweight + REACH * p.C, 0.0f);
        for (int64_t t = 0; t < p.T; ++t) {
            bool reached[REACH + 1] = {};  // by the token so many places on
            for (int64_t on = 1; on <= REACH && t + on < p.T; ++on) reached[on] = reach(b, t + on) >= on;
            channels([&, n = at(b, t)](int64_t c, auto widen, auto weight, auto store, auto put) {
                auto given = widen(x + n + c), sum = widen(dy + n + c);
                for (int64_t on = 1; on <= REACH; ++on)
                    if (reached[on]) {
                        float* of_weight = dweight + (on - 1) * p.C + c;
                        auto later = widen(dy + n + on * p.C + c);
                        sum += weight(p.weight + (on - 1) * p.C + c) * later;
                        put(of_weight, weight(of_weight) + given * later);
                    }
                store(dx + n + c, sum);
            });
        }
    }
};

extern "C" {
bool has_tiles() {
#ifdef TILES
    return tiles_allowed();
#else
    return false;
#endif
}
void attention_float32(const AttentionPass* pass, bool gradients) { Attention<Float32>(*pass).run(gradients); }
void attention_bfloat16(const AttentionPass* pass, bool gradients) { Attention<Bfloat16>(*pass).run(gradients); }
void convolution_float32(const ConvolutionPass* pass, bool gradients) { Convolution<Float32>(*pass).run(gradients); }
void convolution_bfloat16(const ConvolutionPass* pass, bool gradients) { Convolution<Bfloat16>(*pass).run(gradients); }
void cross_entropy_float32(const CrossEntropyPass* pass) { CrossEntropy<Float32>(*pass).run(); }
void cross_entropy_bfloat16(const CrossEntropyPass* pass) { CrossEntropy<Bfloat16>(*pass).run(); }
}
