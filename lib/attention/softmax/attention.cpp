#include "lib/attention/softmax/attention.h"

#include <cmath>
#include <mutex>
#include <numbers>
#include <tuple>

namespace tilejit::attention {

using namespace dsl;
using runtime::Tensor;

// ---- variants ----------------------------------------------------------------------------------------------------

Visibility every_key() {
  return {
      [](const Lengths& length, const Index&, int64_t) { return KeyRange{0, length.keys, {}, length.keys}; },
      nullptr,
  };
}

Visibility causal_keys() {
  return {
      [](const Lengths& length, const Index& first, int64_t count) {
        Index seen_by_first = first + length.keys - length.queries + 1; // so many keys, or none where negative
        return KeyRange{0, min(seen_by_first + (count - 1), length.keys), {}, seen_by_first};
      },
      [](const Lengths& length, const Tile& rows, const Tile& columns) {
        return columns <= rows + (length.keys - length.queries);
      },
  };
}

// Keys past the end are seen by no one, whatever the variant says.
static Tile seen(const Visibility& visibility, const Lengths& length, const Tile& rows, const Tile& columns) {
  Tile exists = columns < length.keys;
  return visibility.sees ? exists && visibility.sees(length, rows, columns) : exists;
}

// ---- the kernel --------------------------------------------------------------------------------------------------

AttentionConfig attention_config(int64_t d, int64_t dv, DType type) {
  // 16 rows a warp: the accumulator takes dv / 2 registers of a thread, scores block_n / 2. Of a 32-bit type and of
  // wide values fewer rows and keys, so that two stages of K and V beside Q fit the smallest shared memory of all
  // targets.
  const int64_t shared_bytes = 160 * 1024, bytes = static_cast<int64_t>(size_of(type));
  const bool narrow = bytes == 2;
  AttentionConfig config{
      narrow ? 128 : 64, narrow && d <= 64 && dv <= 64 ? 128 : 64, {.warps = narrow ? 8 : 4, .stages = 2}};
  auto needed = [&] { return bytes * (config.block_m * d + config.schedule.stages * config.block_n * (d + dv)); };
  while (config.block_n > 16 && (needed() > shared_bytes || dv / 2 + config.block_n / 2 > 144)) config.block_n /= 2;
  return config;
}

// Streams over tiles of keys with a running maximum and sum (online softmax, Milakov and Gimelshein, arXiv 1805.02867;
// as FlashAttention, arXiv 2205.14135, uses it). The maximum is of unscaled scores, so that scaling and subtracting are
// one fma before exp2; it starts finite, so that a row that has seen nothing yet needs no test.
Kernel attention_kernel(const AttentionConfig& config, const AttentionVariant& variant) {
  const int64_t m = config.block_m, n = config.block_n;
  auto body = [=](const Arguments& arguments) {
    View q = arguments.view("q"), k = arguments.view("k"), v = arguments.view("v"), o = arguments.view("o");
    Scalar scale = arguments.scalar("scale");
    Lengths length{q.size(1), k.size(1)};
    Span width = span(0, q.fixed_size(3)), value_width = span(0, v.fixed_size(3));
    Index first = (cdiv(length.queries, m) - 1 - program_id(0)) * m; // the longest causal rows first
    Index head = program_id(1), batch = program_id(2), kv_head = head / (q.size(2) / k.size(2));
    Tile rows = (first + iota(m)).column(), columns = iota(n).row();
    Tile queries = q.at(batch, span(first, m), head, width).load();
    Tile factor = variant.score ? Tile(std::numbers::log2e_v<float>) : scale * std::numbers::log2e;

    Var top = full(f32, {m}, -1e30f), total = zeros(f32, {m}), acc = zeros(f32, {m, v.fixed_size(3)});
    KeyRange keys = variant.visibility.range(length, first, m);
    Index begin = max(keys.begin, 0), end = min(keys.end, length.keys);
    Index full_begin = keys.full_begin.value_or(begin), full_end = min(keys.full_end, length.keys);
    for (Index key : range(begin / n * n, end, n)) {
      Tile tile = k.at(batch, span(key, n), kv_head, width).load();
      Var s = dot(queries, transpose(tile), variant.precision);
      if (variant.score) s = variant.score(s * scale, rows, key + columns);
      when(key < full_begin || key + n > full_end, [&] { // at the edges only: most tiles are seen by every row
        s = select(seen(variant.visibility, length, rows, key + columns), s, -INFINITY);
      });
      Tile higher = max(top, reduce_max(s, 1));
      Tile p = exp2(s * factor - (higher * factor).column());
      Tile fade = exp2((top - higher) * factor);
      total = total * fade + sum(p, 1);
      Tile values = v.at(batch, span(key, n), kv_head, value_width).load();
      acc = dot(p.to(v.type()), values, acc * fade.column(), variant.precision);
      top = higher;
    }

    Tile inverse = select(total == 0.0f, 0.0f, 1.0f / total);
    o.at(batch, span(first, m), head, value_width).store((acc * inverse.column()).to(o.type()));
    if (variant.lse)
      arguments.view("lse")
          .at(batch, head, span(first, m))
          .store(select(total == 0.0f, -INFINITY, top * factor * std::numbers::ln2 + log(total)));
  };
  return kernel(variant.lse ? "attention(q, k, v, o, lse, scale)" : "attention(q, k, v, o, scale)", body,
                config.schedule);
}

// ---- the call ----------------------------------------------------------------------------------------------------

namespace {

// What the kernel is specialized for, beyond what the Jit tells apart by the tensors themselves.
struct Key {
  int64_t d, dv;
  DType type;
  bool causal, lse;
  Precision precision;
  auto operator<=>(const Key&) const = default;
};

Jit& jit_for(const Key& key) {
  static std::mutex mutex;
  static std::map<Key, Jit> jits;
  std::lock_guard lock(mutex);
  auto known = jits.find(key);
  if (known != jits.end()) return known->second;
  AttentionVariant variant{key.causal ? causal_keys() : every_key(), nullptr, key.lse, key.precision};
  Jit jit(attention_kernel(attention_config(key.d, key.dv, key.type), variant));
  if (key.lse) jit.specialize("lse", {}); // its last dim is a length, which stays open
  return jits.emplace(key, std::move(jit)).first->second;
}

void require(bool fits, const std::string& message) {
  if (!fits) throw InputError("attention: " + message);
}

std::string text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

void check_width(const char* name, int64_t width) {
  require(width >= 16 && width <= 256 && width % 16 == 0, std::string("the last dim of ") + name +
                                                              " must be a multiple of 16 from 16 to 256, not " +
                                                              std::to_string(width));
}

void check_shapes(const std::vector<int64_t>& q, const std::vector<int64_t>& k, const std::vector<int64_t>& v) {
  for (auto [name, shape] : {std::pair("q", &q), std::pair("k", &k), std::pair("v", &v)})
    require(shape->size() == 4,
            std::string(name) + " must have 4 dims (batch, tokens, heads, width), not " + text(*shape));
  require(q[0] == k[0] && k[0] == v[0], "batch sizes differ: q " + text(q) + ", k " + text(k) + ", v " + text(v));
  require(k[1] == v[1] && k[2] == v[2], "k and v must have equal lengths and heads: k " + text(k) + ", v " + text(v));
  require(q[3] == k[3], "q and k must have equal widths: q " + text(q) + ", k " + text(k));
  require(k[2] > 0 && q[2] % k[2] == 0, "q's heads must be a multiple of k's: q " + text(q) + ", k " + text(k));
  check_width("q and k", q[3]);
  check_width("v", v[3]);
}

// A launch's parts: which Jit, its grid and arguments.
struct Call {
  Jit& jit;
  Grid grid;
  std::vector<Argument> arguments;
};

Key key_of(int64_t d, int64_t dv, DType type, const AttentionOptions& options) {
  require(type == bf16 || type == f16 || type == f32, "inputs must be bf16, f16 or f32");
  return {d, dv, type, options.causal, options.lse, type == f32 ? options.precision : Precision::tf32};
}

Call prepare(const AttentionInputs& inputs, const AttentionOptions& options, const Tensor& o, const Tensor* lse) {
  const Tensor &q = inputs.q, &v = inputs.v;
  Key key = key_of(q.shape[3], v.shape[3], q.type, options);
  float scale = options.scale.value_or(1 / std::sqrt(static_cast<float>(q.shape[3])));
  require(scale > 0 && std::isfinite(scale), "scale must be positive, not " + std::to_string(scale));
  AttentionConfig config = attention_config(key.d, key.dv, key.type);
  Call call{jit_for(key), {cdiv(q.shape[1], config.block_m), q.shape[2], q.shape[0]}, {q, inputs.k, v, o}};
  if (lse) call.arguments.push_back(*lse);
  call.arguments.push_back(scale);
  return call;
}

void check(const AttentionInputs& inputs) {
  check_shapes(inputs.q.shape, inputs.k.shape, inputs.v.shape);
  require(inputs.q.type == inputs.k.type && inputs.q.type == inputs.v.type, "q, k and v must have one element type");
}

} // namespace

AttentionOutputs attention(runtime::Device& device, const AttentionInputs& inputs, const AttentionOptions& options,
                           runtime::Stream* stream) {
  check(inputs);
  const std::vector<int64_t>& q = inputs.q.shape;
  AttentionOutputs outputs{empty(device, inputs.q.type, {q[0], q[1], q[2], inputs.v.shape[3]}), {}};
  if (options.lse) outputs.lse = empty(device, f32, {q[0], q[2], q[1]});
  Call call = prepare(inputs, options, outputs.o, outputs.lse ? &*outputs.lse : nullptr);
  call.jit.launch(device, call.grid, call.arguments, stream);
  return outputs;
}

std::shared_ptr<const CompiledKernel> attention_compiled(const std::string& target, const AttentionInputs& inputs,
                                                         const AttentionOptions& options) {
  check(inputs);
  const std::vector<int64_t>& q = inputs.q.shape;
  // Outputs as the call would allocate them; the compiler asks only for their shapes and alignment.
  Tensor o{inputs.q.buffer, inputs.q.type, {q[0], q[1], q[2], inputs.v.shape[3]}, {}, 0};
  Tensor lse{inputs.q.buffer, f32, {q[0], q[2], q[1]}, {}, 0};
  for (Tensor* tensor : {&o, &lse}) {
    int64_t stride = 1;
    tensor->strides.resize(tensor->shape.size());
    for (size_t d = tensor->shape.size(); d-- > 0; stride *= tensor->shape[d]) tensor->strides[d] = stride;
  }
  Call call = prepare(inputs, options, o, options.lse ? &lse : nullptr);
  return call.jit.compile(target, call.arguments);
}

// ---- for the registry --------------------------------------------------------------------------------------------

static AttentionOptions options_of(const KernelInfo& info, const Parameters& parameters) {
  AttentionOptions options;
  if (parameters.contains("scale")) options.scale = static_cast<float>(parameter<double>(info, parameters, "scale"));
  options.causal = parameter<bool>(info, parameters, "causal");
  auto precision = parameter<std::string>(info, parameters, "precision");
  require(precision == "tf32" || precision == "tf32x3", "precision must be tf32 or tf32x3, not '" + precision + "'");
  options.precision = precision == "tf32" ? Precision::tf32 : Precision::tf32x3;
  return options;
}

static Tensors run(runtime::Device& device, const Tensors& inputs, const Parameters& parameters,
                   const std::vector<std::string>& wanted) {
  AttentionOptions options = options_of(attention_info(), parameters);
  options.lse = std::find(wanted.begin(), wanted.end(), "lse") != wanted.end();
  AttentionOutputs outputs = attention(device, {inputs.at("q"), inputs.at("k"), inputs.at("v")}, options);
  device.synchronize();
  Tensors all{{"o", outputs.o}};
  if (outputs.lse) all.emplace("lse", *outputs.lse);
  return all;
}

static Program program(const Shapes& shapes, DType type, const Parameters& parameters) {
  AttentionOptions options = options_of(attention_info(), parameters);
  const std::vector<int64_t>&q = shapes.at("q"), &k = shapes.at("k"), &v = shapes.at("v");
  check_shapes(q, k, v);
  key_of(q[3], v[3], type, options);
  AttentionVariant variant{options.causal ? causal_keys() : every_key(), nullptr, false, options.precision};
  auto open = [&](const char* name, int64_t width) {
    return tensor_spec(name, type, {dynamic, dynamic, dynamic, width}, {dynamic, dynamic, dynamic, 1});
  };
  return attention_kernel(attention_config(q[3], v[3], type), variant)
      .record({open("q", q[3]), open("k", k[3]), open("v", v[3]), open("o", v[3]), scalar_spec("scale", f32)});
}

const KernelInfo& attention_info() {
  static const KernelInfo info{
      .name = "attention",
      .summary = "softmax attention forward (MHA, MQA, GQA)",
      .inputs = {{"q", "B,Tq,HQ,D", false, {}, "queries"},
                 {"k", "B,Tk,HKV,D", false, {}, "keys; HQ is a multiple of HKV"},
                 {"v", "B,Tk,HKV,DV", false, {}, "values"}},
      .outputs = {{"o", "B,Tq,HQ,DV", false, {}, "attention output"},
                  {"lse", "B,HQ,Tq", true, f32,
                   "natural log of the sum of exponentials; -inf for a row that sees no key"}},
      .parameters = {{"scale", 0.0, "D^-0.5", "factor of the scores, positive"},
                     {"causal", false, "", "row i sees keys j <= i + Tk - Tq"},
                     {"precision", std::string("tf32"), "",
                      "products of f32 inputs: tf32, or tf32x3 (error of about 2^-22)"}},
      .example = {{"q", {1, 4096, 32, 128}}, {"k", {1, 4096, 8, 128}}, {"v", {1, 4096, 8, 128}}},
      .run = run,
      .program = program,
  };
  return info;
}

} // namespace tilejit::attention
