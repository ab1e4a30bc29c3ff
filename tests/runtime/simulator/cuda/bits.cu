// Instructions on bits, small integers and barriers for which CUDA C++ has a function or inline PTX.
#include <cstdint>

#define OP1(name, text) \
  __device__ uint32_t name(uint32_t a) { uint32_t d; asm(text " %0, %1;" : "=r"(d) : "r"(a)); return d; }
#define OP2(name, text) \
  __device__ uint32_t name(uint32_t a, uint32_t b) { uint32_t d; asm(text " %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b)); return d; }
#define OP3(name, text) \
  __device__ uint32_t name(uint32_t a, uint32_t b, uint32_t c) { \
    uint32_t d; asm(text " %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c)); return d; }
#define OP4(name, text) \
  __device__ uint32_t name(uint32_t a, uint32_t b, uint32_t c, uint32_t e) { \
    uint32_t d; asm(text " %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "r"(e)); return d; }

OP3(bfe_u, "bfe.u32")
OP3(bfe_s, "bfe.s32")
OP4(bfi, "bfi.b32")
OP1(cnot, "cnot.b32")
OP2(bmsk_clamp, "bmsk.clamp.b32")
OP2(bmsk_wrap, "bmsk.wrap.b32")
OP2(szext_s, "szext.wrap.s32")
OP2(szext_u, "szext.clamp.u32")
OP3(sad_s, "sad.s32")
OP3(prmt_f4e, "prmt.b32.f4e")
OP3(prmt_rc16, "prmt.b32.rc16")
OP3(shf_l, "shf.l.clamp.b32")
OP3(shf_r, "shf.r.wrap.b32")
OP3(dp2a_lo, "dp2a.lo.s32.u32")
OP3(dp2a_hi, "dp2a.hi.u32.s32")
OP2(pack, "cvt.pack.sat.u16.s32")
OP1(bfind_shift, "bfind.shiftamt.s32")
OP1(find_u, "bfind.u32")
OP3(nth_set, "fns.b32")

extern "C" __global__ void bits(const uint32_t* in, uint32_t* out) {
  uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, a = in[4 * i], b = in[4 * i + 1], c = in[4 * i + 2];
  uint32_t s = in[4 * i + 3], *o = out + 32 * i;
  o[0] = bfe_u(a, s, c);
  o[1] = bfe_s(a, s, c);
  o[2] = bfi(a, b, s, c);
  o[3] = cnot(a & 1);
  o[4] = bmsk_clamp(s, c);
  o[5] = bmsk_wrap(s, c);
  o[6] = szext_s(a, s);
  o[7] = szext_u(a, s);
  o[8] = sad_s(a, b, c);
  o[9] = prmt_f4e(a, b, s);
  o[10] = prmt_rc16(a, b, s);
  o[11] = shf_l(a, b, s);
  o[12] = shf_r(a, b, s);
  o[13] = dp2a_lo(a, b, c);
  o[14] = dp2a_hi(a, b, c);
  o[15] = pack(a, b);
  o[16] = bfind_shift(a);
  o[17] = find_u(a);
  asm("lop3.b32 %0, %1, %2, %3, 0xe8;" : "=r"(o[18]) : "r"(a), "r"(b), "r"(c)); // of each bit, what two of three have
  o[19] = nth_set(a, s & 31, int(c & 7) - 3);
  o[20] = __mul24(a, b);
  o[21] = __umul24(a, b);
  o[22] = __byte_perm(a, b, s);
}

/// Named barriers: the first half of the threads makes, the second takes; a reduction over some of the warps.
extern "C" __global__ void named_barriers(const int* in, int* out) {
  __shared__ int x[64];
  int t = threadIdx.x, half = blockDim.x / 2;
  for (int round = 0; round < 3; ++round) {
    if (t < half) {
      if (round) asm volatile("barrier.cta.sync 2, %0;" : : "r"(blockDim.x) : "memory");
      x[t] = in[round * half + t];
      asm volatile("barrier.cta.arrive 1, %0;" : : "r"(blockDim.x) : "memory");
    } else {
      asm volatile("barrier.cta.sync 1, %0;" : : "r"(blockDim.x) : "memory");
      out[round * half + t - half] = x[half - 1 - (t - half)];
      if (round < 2) asm volatile("barrier.cta.arrive 2, %0;" : : "r"(blockDim.x) : "memory");
    }
  }
  if (t >= 32 && t < 96) { // warps 1 and 2
    int count, all;
    asm volatile("{ .reg .pred p, q; setp.ne.s32 p, %2, 0; barrier.cta.red.popc.u32 %0, 3, 64, p;\n"
                 "barrier.cta.red.and.pred q, 3, 64, p; selp.b32 %1, 1, 0, q; }"
                 : "=r"(count), "=r"(all)
                 : "r"(in[t] & 1));
    out[3 * half + t - 32] = count * 2 + all;
  }
}

/// Copies that arrive at a barrier when they are there, and a matrix whose rows become columns within a warp.
extern "C" __global__ void copies(const int* in, int* out) {
  __shared__ alignas(16) int x[128];
  __shared__ uint64_t bar;
  uint32_t address = __cvta_generic_to_shared(&bar), to = __cvta_generic_to_shared(x + 4 * threadIdx.x);
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], 32;" : : "r"(address) : "memory");
  __syncthreads();
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\ncp.async.mbarrier.arrive.noinc.shared.b64 [%2];"
               :
               : "r"(to), "l"(in + 4 * threadIdx.x), "r"(address)
               : "memory");
  uint32_t done = 0;
  while (!done)
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], 0; selp.b32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(address)
                 : "memory");
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = x[127 - (4 * threadIdx.x + i)];
  int matrix = in[threadIdx.x], turned;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(turned) : "r"(matrix));
  out[128 + threadIdx.x] = turned;
}

// Two and four numbers in a word.
extern "C" __global__ void packed_words(const uint32_t* in, uint32_t* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  uint32_t a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2], *o = out + 40 * i;
  o[0] = __vadd2(a, b);
  o[1] = __vadd4(a, b);
  o[2] = __vsub2(a, b);
  o[3] = __vsub4(a, b);
  o[4] = __vaddss2(a, b);
  o[5] = __vaddus4(a, b);
  o[6] = __vsubss4(a, b);
  o[7] = __vsubus2(a, b);
  o[8] = __vabsdiffu2(a, b);
  o[9] = __vabsdiffu4(a, b);
  o[10] = __vsadu2(a, b);
  o[11] = __vsadu4(a, b);
  o[12] = __vsads2(a, b);
  o[13] = __vsads4(a, b);
  o[14] = __vavgu4(a, b);
  o[15] = __vhaddu2(a, b);
  o[16] = __vmaxs2(a, b);
  o[17] = __vminu2(a, b);
  o[18] = __vmaxu4(a, b);
  o[19] = __vmins4(a, b);
  o[20] = __vcmpgts2(a, b);
  o[21] = __vcmpeq4(a, b);
  o[22] = __vsetltu4(a, b);
  o[23] = __vneg4(a);
  o[24] = __vabs2(a);
  o[25] = __vabsss4(a);
  o[26] = __vimax3_s16x2(a, b, c);
  o[27] = __vimin3_u16x2(a, b, c);
  o[28] = __vimax_s16x2_relu(a, b);
  o[29] = __viaddmax_s16x2(a, b, c);
  o[30] = __viaddmin_u16x2(a, b, c);
  o[31] = __vimin3_s32_relu(a, b, c);
  o[32] = __dp4a((int)a, (int)b, (int)c);
  o[33] = __dp4a(a, b, c);
  o[34] = __dp2a_lo((int)a, (int)b, (int)c);
  o[35] = __dp2a_hi(a, b, c);
}
