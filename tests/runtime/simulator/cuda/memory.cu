// Memory: initialised constants and variables, pointers among them, vectors, local arrays, spaces behind one pointer.
#include <cstdint>

struct Record {
  short a;
  char b[3];
  double d;
  const float* p;
};
__constant__ float weights[16] = {1, 2, 3, 4, .5f, -1};
__constant__ Record record = {7, {1, 2, 3}, 2.5, weights + 2};
__device__ int numbers[4] = {5, -6, 7};
__device__ int* number_address = numbers + 1;
__device__ int** indirect[2] = {nullptr, &number_address};
__device__ const char* words[3] = {"zero", "one", "twenty"};
__device__ float table[8][8];

extern "C" __global__ void initialised(float* out, int64_t* ints) {
  int i = threadIdx.x;
  out[i] = weights[i & 15] + *record.p + record.b[i % 3] * record.a + (float)record.d;
  ints[i] = numbers[i & 3] + **indirect[1] + *number_address;
  int length = 0;
  for (const char* c = words[i % 3]; *c; ++c) length += *c;
  ints[i] = ints[i] * 10000 + length;
  __syncthreads();
  table[i / 8 % 8][i & 7] = i;
  __syncthreads();
  out[i] += table[i & 7][i / 8 % 8];
}

extern "C" __global__ void vectors(const float4* in, float4* out, short4* shorts, uchar4* bytes, double2* doubles,
                                   longlong2* longs) {
  __shared__ float4 tile[64];
  int i = threadIdx.x;
  tile[i] = __ldg(in + i);
  __syncthreads();
  float4 v = tile[63 - i];
  out[i] = make_float4(v.w, v.z, v.y, v.x);
  __stcs(out + 64 + i, __ldcg(in + i));
  short4 s = shorts[i];
  shorts[i] = make_short4(s.w, s.z + 1, s.x, s.y);
  uchar4 b = bytes[i];
  bytes[i] = make_uchar4(b.w, b.z, b.x, b.y + 1);
  double2 d = doubles[i];
  doubles[i] = make_double2(d.y, d.x + d.y);
  longs[i].x += longs[i].y;
}

/// Arrays on the stack that the index is only known for at run time.
extern "C" __global__ void local_arrays(const int* in, int* out, int n) {
  int counts[32] = {};
  short order[40];
  double sums[5] = {1, 2, 3, 4, 5};
  for (int k = 0; k < 40; ++k) order[k] = k;
  for (int k = 0; k < n; ++k) {
    int x = in[threadIdx.x * n + k];
    ++counts[x & 31];
    short t = order[x % 40];
    order[x % 40] = order[(x + k) % 40];
    order[(x + k) % 40] = t;
    sums[x % 5] += x;
  }
  int result = 0;
  for (int k = 0; k < 32; ++k) result = result * 3 + counts[k];
  for (int k = 0; k < 40; ++k) result = result * 5 + order[k];
  out[threadIdx.x] = result + (int)sums[threadIdx.x % 5];
}

/// One pointer, and the memory behind it shared, local, constant or global.
extern "C" __global__ void generic(const int* in, int* out) {
  __shared__ int shared[64];
  int local[8], i = threadIdx.x;
  shared[i] = in[i];
  for (int k = 0; k < 8; ++k) local[k] = in[i] * k;
  __syncthreads();
  const int* p = i % 4 == 0 ? shared + (i + 1) % 64 : i % 4 == 1 ? local + i % 8 : i % 4 == 2 ? in + i : numbers;
  out[2 * i] = *p;
  out[2 * i + 1] = __isShared(p) + 2 * __isLocal(p) + 4 * __isGlobal(p);
}

struct Big {
  int numbers[24];
  double scale;
};
extern "C" __global__ void big_parameter(Big big, double* out) {
  out[threadIdx.x] = big.numbers[threadIdx.x % 24] * big.scale + big.numbers[(threadIdx.x * 7) % 24];
}

template <typename T>
__device__ void transposed(const T* in, T* out, int rows, int columns, T* tile) {
  for (int r = threadIdx.y; r < 16; r += blockDim.y) {
    int row = blockIdx.y * 16 + r, column = blockIdx.x * 16 + threadIdx.x;
    if (row < rows && column < columns) tile[r * 17 + threadIdx.x] = in[row * columns + column];
  }
  __syncthreads();
  for (int r = threadIdx.y; r < 16; r += blockDim.y) {
    int row = blockIdx.x * 16 + r, column = blockIdx.y * 16 + threadIdx.x;
    if (row < columns && column < rows) out[row * rows + column] = tile[threadIdx.x * 17 + r];
  }
}
extern "C" __global__ void transpose_u8(const uint8_t* in, uint8_t* out, int rows, int columns) {
  __shared__ uint8_t tile[16 * 17];
  transposed(in, out, rows, columns, tile);
}
extern "C" __global__ void transpose_f64(const double* in, double* out, int rows, int columns) {
  extern __shared__ double dynamic[];
  transposed(in, out, rows, columns, dynamic);
}
extern "C" __global__ void matrix_product(const float* a, const float* b, float* c, int n) {
  __shared__ float ta[16][16], tb[16][16];
  int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; k += 16) {
    ta[threadIdx.y][threadIdx.x] = row < n && k + threadIdx.x < n ? a[row * n + k + threadIdx.x] : 0;
    tb[threadIdx.y][threadIdx.x] = column < n && k + threadIdx.y < n ? b[(k + threadIdx.y) * n + column] : 0;
    __syncthreads();
    for (int m = 0; m < 16; ++m) sum += ta[threadIdx.y][m] * tb[m][threadIdx.x];
    __syncthreads();
  }
  if (row < n && column < n) c[row * n + column] = sum;
}
