// Calls: recursion, the stack, structures by value, function pointers, virtual functions, printf, assert, malloc.
#include <cassert>
#include <cstdio>

struct Point {
  double x, y, z;
  int tag;
};
__device__ __noinline__ Point mix(Point a, Point b, float t) {
  Point r{a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t, a.z * b.z, a.tag ^ b.tag};
  return r;
}
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__device__ __noinline__ float twice(float x) { return 2 * x; }
__device__ __noinline__ float square(float x) { return x * x; }
typedef float (*Unary)(float);
__device__ Unary unaries[2] = {twice, square};

struct Shape {
  __device__ virtual float area() const = 0;
};
struct Square : Shape {
  float a;
  __device__ Square(float a) : a(a) {}
  __device__ float area() const override { return a * a; }
};
struct Circle : Shape {
  float r;
  __device__ Circle(float r) : r(r) {}
  __device__ float area() const override { return 3.14159265f * r * r; }
};

extern "C" __global__ void calls(Point* points, int* ints, float* floats, int n) {
  int i = threadIdx.x;
  points[i] = mix(points[i], points[i + 1], 0.25f);
  ints[i] = fibonacci(ints[i]);
  floats[i] = unaries[ints[i] & 1](floats[i]);
  Square s(floats[i]);
  Circle c(floats[i]);
  const Shape* shape = i & 1 ? (const Shape*)&s : (const Shape*)&c;
  floats[i] += shape->area();
}
extern "C" __global__ void prints(int n) {
  if (threadIdx.x < n) printf("thread %d of %s: %f\n", threadIdx.x, "block", threadIdx.x * 0.5);
  assert(n > 0);
}
extern "C" __global__ void local_array(int* out, const int* index, int n) {
  int x[64];
  for (int i = 0; i < 64; ++i) x[i] = i * i;
  for (int i = 0; i < n; ++i) x[index[i] & 63] += x[(index[i] + 1) & 63];
  out[threadIdx.x] = x[threadIdx.x & 63];
}
extern "C" __global__ void heap(int** out, int n) {
  int* p = (int*)malloc(n * sizeof(int));
  for (int i = 0; i < n; ++i) p[i] = i;
  out[threadIdx.x] = p;
  if (n > 5) free(p);
}
