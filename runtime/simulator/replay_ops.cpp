// replay_ops.cpp - see replay_ops.h.
#include "runtime/simulator/replay_ops.h"

#include "runtime/simulator/cfg.h"
#include "runtime/simulator/liveness.h"
#include "runtime/simulator/uniform.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

using Kind = ReplayOp::Kind;

constexpr double vanishing = 0.3;       ///< issue slots of what mostly vanishes, assumed
constexpr uint32_t spare_registers = 8; ///< that a compiler needs beyond the live ones, assumed

bool is_64bit(Type t) { return bits_of(t) == 64 && !is_float(t); }

/// Machine instructions. Figures above 2 are sizes of the sequences that ptxas makes.
double issue_slots(const Instruction& i) {
  const Type type = i.type();
  switch (i.form) {
  case Form::mov:
  case Form::cvta:
  case Form::cvta_to:
  case Form::wgmma_fence:
  case Form::wgmma_commit_group:
  case Form::griddepcontrol:
  case Form::pmevent: return vanishing;
  case Form::ld:
    return i.space() == Space::param || i.space() == Space::constant ? vanishing : 1; // operands from constant memory
  case Form::mul_int:
  case Form::mad_int: return is_64bit(type) ? 4 : 1;
  case Form::mul_wide:
  case Form::mad_wide: return 1;
  case Form::div_int:
  case Form::rem: return is_64bit(type) ? 70 : 20;
  case Form::div_float: return type == Type::f64 ? 20 : 10;
  case Form::rcp: return type == Type::f64 ? 10 : 6;
  case Form::sqrt: return type == Type::f64 ? 20 : 8;
  case Form::div_approx: return i.has(Mod::full) ? 4 : 2;
  case Form::sqrt_approx:
  case Form::sin_approx:
  case Form::cos_approx: return 2;
  case Form::ex2_approx:
  case Form::lg2_approx:
  case Form::rcp_approx:
  case Form::rsqrt_approx: return i.has(Mod::ftz) ? 1 : 4; // subnormal operands are scaled, results scaled back
  case Form::tanh_half:
  case Form::ex2_half: return type == Type::f16x2 || type == Type::bf16x2 ? 2 : 1;
  case Form::bfe:
  case Form::bfi:
  case Form::clz:
  case Form::bfind: return 2;
  case Form::cvt:
    return !is_float(i.type(0)) && !is_float(i.type(1)) && bits_of(i.type(0)) >= 32 && bits_of(i.type(1)) >= 32
               ? vanishing
               : 1;
  default: return is_64bit(type) && all_forms()[i.row].unit == Unit::alu ? 2 : 1;
  }
}

Type multiplied(const Instruction& i) { return i.form == Form::wmma_mma && i.type_count == 2 ? Type::f16 : i.type(1); }

/// Between integers and floating point, or to integral values: not only to another number of bits.
bool changes_kind(const Instruction& i) {
  return is_float(i.type(0)) != is_float(i.type(1)) ||
         i.any_of({Mod::rni, Mod::rzi, Mod::rmi, Mod::rpi}) != Mod::unknown;
}

/// Which memory an access goes to matters for what its reader is said to wait for.
bool is_shared(const Instruction& i) {
  return i.space() == Space::shared || i.form == Form::ldmatrix || i.form == Form::stmatrix;
}

void choose_unit(ReplayOp& op, const Instruction& i, const Gpu& gpu) {
  auto quarter = [](double rate) { return 128 / rate; }; // 32 lanes over a quarter of the multiprocessor's
  const Gpu::Latencies& latency = gpu.latency;
  const InstructionClass c = class_of(i);
  auto use = [&](Resource unit, double cycles, double after, Stall stall) {
    op.unit = unit, op.cycles = cycles, op.latency = after, op.stall = stall;
  };
  switch (i.form) {
  case Form::div_float:
  case Form::rcp:
  case Form::sqrt:
    if (i.type() != Type::f64) return use(Resource::special, quarter(gpu.special), latency.special, Stall::special);
    break;
  case Form::popc:
  case Form::brev:
  case Form::clz:
  case Form::bfind: return use(Resource::special, quarter(gpu.special), latency.special, Stall::special);
  default: break;
  }
  switch (all_forms()[i.row].unit) {
  case Unit::fma: {
    const bool integer = c == InstructionClass::integer, half = c == InstructionClass::half,
               wide = i.form == Form::mul_wide || i.form == Form::mad_wide || i.has(Mod::hi);
    return use(Resource::fma,
               quarter(integer ? gpu.int32
                       : half  ? gpu.fp32_half
                               : gpu.fp32) *
                   std::max(1.0, op.issue),
               half   ? latency.half
               : wide ? latency.wide
                      : latency.alu,
               Stall::arithmetic);
  }
  case Unit::alu: {
    const bool converts = c == InstructionClass::conversion && op.issue >= 1;
    const double rate = !converts                                                                    ? gpu.int32
                        : !changes_kind(i)                                                           ? gpu.resizing
                        : i.type(0) == Type::f32 && bits_of(i.type(1)) == 32 && !is_float(i.type(1)) ? gpu.int_to_float
                                                                                                     : gpu.conversion;
    const bool slow = converts && rate == gpu.conversion;
    return use(Resource::alu, quarter(rate) * op.issue, slow ? latency.conversion : latency.alu,
               slow ? Stall::special : Stall::arithmetic);
  }
  case Unit::fp64:
    return use(Resource::fp64, quarter(gpu.fp64) * std::max(1.0, op.issue), latency.fp64, Stall::special);
  case Unit::special:
    return use(Resource::special, quarter(gpu.special) * (i.type() == Type::f16x2 || i.type() == Type::bf16x2 ? 2 : 1),
               latency.special, Stall::special);
  case Unit::memory:
  case Unit::copy:
    if (i.space() == Space::param || i.space() == Space::constant) return;
    op.kind = Kind::access;
    op.unit = Resource::shared_memory;
    op.stores = c == InstructionClass::store && !is_shared(i);
    op.stall = is_shared(i) || c == InstructionClass::shuffle ? Stall::shared_memory : Stall::global_memory;
    return;
  case Unit::tensor:
    if (i.shape.m && i.shape.n && i.shape.k) {
      const std::string_view type = name_of(multiplied(i));
      const double multiplies = double{1} * i.shape.m * i.shape.n * i.shape.k, rate = tensor_rate(gpu, type);
      if (i.text.starts_with("wgmma")) {
        op.kind = Kind::product;
        op.beside = gpu.beside_wgmma_64 +
                    (gpu.beside_wgmma_256 - gpu.beside_wgmma_64) * (std::max(64.0, double{1} * i.shape.n) - 64) / 192;
        return use(Resource::tensor, std::max(multiplies / rate, gpu.wgmma_least), latency.wgmma, Stall::products);
      }
      const bool fp64 = type == "f64", fp8 = type == "e4m3" || type == "e5m2";
      const double share = fp64  ? 1
                           : fp8 ? gpu.mma_sync_fp8_share
                                 : gpu.mma_sync_share,
                   cycles = multiplies / (rate / 4 * share);
      const bool is_short = i.shape.k * bits_of(multiplied(i)) <= 128; // of a row of A, in bits
      use(Resource::tensor, cycles,
          fp64       ? cycles + latency.mma_fp64
          : fp8      ? latency.mma_fp8
          : is_short ? latency.mma_short
                     : latency.mma,
          Stall::products);
    }
    return;
  case Unit::control:
  case Unit::none: return;
  }
}

void choose_kind(ReplayOp& op, const Function& f, const Instruction& i, const Gpu& gpu) {
  auto groups = [&] { return static_cast<uint32_t>(f.operands(i)[0].value); };
  switch (i.form) {
  case Form::shfl:
  case Form::shfl_sync: // goes the way of shared memory, one wavefront
    op.kind = Kind::plain, op.cycles = 1, op.latency = gpu.latency.shuffle;
    break;
  case Form::redux:
  case Form::redux_float: op.cycles = 8, op.latency = gpu.latency.redux; break;
  case Form::match_any:
  case Form::match_all: op.cycles = op.latency = gpu.latency.match; break;
  case Form::cp_async:
  case Form::cp_async_ignore: op.kind = Kind::copy; break;
  case Form::cp_async_commit_group: op.kind = Kind::copy_commit; break;
  case Form::cp_async_wait_group: op.kind = Kind::copy_wait, op.pending = groups(); break;
  case Form::cp_async_wait_all: op.kind = Kind::copy_wait, op.pending = none; break;
  case Form::cp_async_mbarrier_arrive: op.kind = Kind::copies_arrive; break;
  case Form::cp_async_bulk_tensor_load: op.kind = Kind::bulk, op.latency = gpu.latency.copy_engine; break;
  case Form::cp_async_bulk_load: op.kind = Kind::bulk, op.latency = gpu.latency.bulk_copy; break;
  case Form::cp_async_bulk_store:
  case Form::cp_reduce_async_bulk:
  case Form::cp_async_bulk_tensor_store:
  case Form::cp_reduce_async_bulk_tensor: op.kind = Kind::bulk, op.once = true; break;
  case Form::st_async:
  case Form::red_async: op.kind = Kind::bulk; break;
  case Form::barrier_cluster_arrive:
    op.kind = Kind::synchronize;
    op.latency = i.has(Mod::relaxed) ? 0 : gpu.latency.fence_wide;
    break;
  case Form::barrier_cluster_wait: op.kind = Kind::synchronize; break;
  case Form::cp_async_bulk_commit_group: op.kind = Kind::bulk_commit; break;
  case Form::cp_async_bulk_wait_group:
    op.kind = Kind::bulk_wait, op.pending = groups(), op.only_reads = i.has(Mod::read);
    break;
  case Form::wgmma_commit_group: op.kind = Kind::product_commit; break;
  case Form::wgmma_wait_group: op.kind = Kind::product_wait, op.pending = groups(); break;
  case Form::membar:
  case Form::fence:
  case Form::fence_proxy:
  case Form::fence_mbarrier_init:
  case Form::fence_proxy_async_generic:
  case Form::fence_proxy_tensormap:
  case Form::tensormap_cp_fenceproxy: {
    const bool wide = i.form != Form::fence_mbarrier_init &&
                      i.any_of({Mod::cluster, Mod::gl, Mod::gpu, Mod::sys}) != Mod::unknown,
               all_memory =
                   i.form == Form::fence_proxy && i.any_of({Mod::shared_cta, Mod::shared_cluster}) == Mod::unknown;
    op.kind = Kind::fence, op.unit = Resource::issue, op.stall = Stall::fence, op.wide = wide;
    op.latency = i.form == Form::tensormap_cp_fenceproxy ? gpu.latency.store
                 : wide                                  ? gpu.latency.fence_wide
                 : all_memory                            ? gpu.latency.fence_proxy
                                                         : gpu.latency.fence;
    break;
  }
  default:
    if (class_of(i) == InstructionClass::barrier)
      op.kind = Kind::synchronize, op.unit = Resource::shared_memory, op.latency = gpu.latency.mbarrier,
      op.stall = Stall::shared_memory;
    break;
  }
}

} // namespace

double tensor_rate(const Gpu& gpu, std::string_view type) {
  if (type == "tf32") return gpu.tensor_tf32;
  if (type == "f64") return gpu.tensor_fp64;
  if (type == "u8" || type == "s8" || type == "e4m3" || type == "e5m2") return gpu.tensor_8bit;
  if (type == "u4" || type == "s4") return gpu.tensor_4bit;
  if (type == "b1") return gpu.tensor_1bit;
  return gpu.tensor_16bit;
}

ReplayOps replay_ops(const Program& p, const Gpu& gpu, std::array<uint32_t, 3> shape) {
  ReplayOps all;
  const Module& m = *p.module;
  struct Facts {
    uint32_t first = none;
    Uniformity uniformity;
  };
  std::vector<Facts> facts(m.functions.size());
  RegisterUse use;
  for (const StaticCounters& s : p.counters) {
    const Function& f = m.functions[s.function];
    Facts& known = facts[s.function];
    if (known.first == none) {
      known.first = all.registers;
      all.registers += static_cast<uint32_t>(f.registers.size());
      known.uniformity = analyse_uniformity(f, build_cfg(m, f), shape);
    }
    const Instruction& i = f.body[s.instruction];
    ReplayOp op;
    op.issue = issue_slots(i);
    choose_unit(op, i, gpu);
    choose_kind(op, f, i, gpu);
    register_use(f, i, use);
    if (op.kind == Kind::product) { // D is the tensor cores' until the wait
      use.reads.clear();
      for (const Operand& o : f.operands(i))
        if (o.role != 'x') {
          if (o.is(Operand::Kind::reg)) use.reads.push_back(o.index);
          for (const Operand& e : f.elements(o))
            if (e.is(Operand::Kind::reg)) use.reads.push_back(e.index);
        }
      use.writes.clear();
      if (!f.operands(i).empty() && f.elements(f.operands(i)[1]).size() > 1) op.latency = gpu.latency.wgmma_registers;
    } else if (op.kind == Kind::product_wait)
      use.reads.clear();
    // The uniform datapath has integers only.
    const InstructionClass c = class_of(i);
    bool uniform = op.kind == Kind::plain && !use.writes.empty() && !is_float(i.type()) &&
                   (c == InstructionClass::integer || c == InstructionClass::compare || c == InstructionClass::move);
    for (uint32_t r : use.writes) uniform = uniform && known.uniformity.reg[r];
    if (uniform) op.issue *= vanishing, op.cycles *= vanishing;
    for (uint32_t r : use.reads) op.reads.push_back(known.first + r);
    for (uint32_t r : use.writes) op.writes.push_back(known.first + r);
    all.ops.push_back(std::move(op));
  }
  return all;
}

uint32_t estimate_registers(const Program& p, std::array<uint32_t, 3> shape) {
  const Function& f = p.module->functions[p.entry];
  const Cfg cfg = build_cfg(*p.module, f);
  const Uniformity uniformity = analyse_uniformity(f, cfg, shape);
  const Liveness liveness = analyse_liveness(f, cfg);
  auto size = [&](uint32_t r) { return uniformity.reg[r] ? 0 : (bits_of(f.registers[r].type) + 16) / 32; };
  uint32_t most = 0;
  RegisterUse use;
  std::vector<bool> alive(f.registers.size());
  for (uint32_t b = 0; b < cfg.blocks.size(); ++b) {
    uint32_t now = 0;
    std::fill(alive.begin(), alive.end(), false);
    auto begin = [&](uint32_t r) {
      if (!alive[r]) now += size(r);
      alive[r] = true;
    };
    for (uint32_t r : liveness.live_out[b]) begin(r);
    for (uint32_t n = cfg.blocks[b].end; n-- > cfg.blocks[b].begin;) {
      register_use(f, f.body[n], use);
      for (uint32_t r : use.writes) begin(r);
      most = std::max(most, now);
      if (f.body[n].guard == none)
        for (uint32_t r : use.writes) {
          now -= size(r);
          alive[r] = false;
        }
      for (uint32_t r : use.reads) begin(r);
      most = std::max(most, now);
    }
  }
  return most + spare_registers;
}

} // namespace tilejit::runtime::simulator
