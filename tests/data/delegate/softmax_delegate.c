/* A TFLite delegate as a vendor would ship one, in small: it takes the SOFTMAX operators and computes them, unless its
   option `take` is `nothing`; the option `fail` makes it fail. The structures are those of TFLite's C interface
   (tensorflow/lite/core/c/common.h), of which nothing else is used. Built by the tests: cc -shared -fPIC -lm. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int size; int data[]; } IntArray;

typedef struct {
  int type;
  float *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  char data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  IntArray *dims_signature;
} Tensor;

typedef struct { IntArray *inputs, *outputs, *intermediates, *temporaries; void *user_data, *builtin_data; } Node;

typedef struct Context Context;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*release)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *external, *async_kernel;
  uint64_t inplace;
} Registration;

typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *copy_from, *copy_to, *release_buffer;
  int64_t flags;
  void *builder;
} Delegate;

struct Context {
  size_t tensors_size;
  int (*execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  int (*resize_tensor)(Context *, Tensor *, IntArray *);
  void (*report_error)(Context *, const char *, ...);
  int (*add_tensors)(Context *, int, int *);
  int (*node_and_registration)(Context *, int, Node **, Registration **);
  int (*replace)(Context *, Registration, const IntArray *, Delegate *);
};

enum { OK = 0, FAILED = 1, SOFTMAX = 25 };
enum { TAKE = 0, TAKE_NOTHING = 1, FAIL = 2 };

static int prepare_kernel(Context *context, Node *node) {
  (void)context, (void)node;
  return OK;
}

static int invoke(Context *context, Node *node) {
  const Tensor *in = &context->tensors[node->inputs->data[0]];
  Tensor *out = &context->tensors[node->outputs->data[0]];
  size_t count = in->bytes / sizeof(float);
  float sum = 0;
  for (size_t i = 0; i < count; i++) sum += out->data[i] = expf(in->data[i]);
  for (size_t i = 0; i < count; i++) out->data[i] /= sum;
  return OK;
}

static int prepare(Context *context, Delegate *delegate) {
  int how = (int)(intptr_t)delegate->data;
  if (how == FAIL) {
    context->report_error(context, "the device does not answer");
    return FAILED;
  }
  IntArray *plan;
  if (context->execution_plan(context, &plan) != OK) return FAILED;
  IntArray *taken = malloc(sizeof(IntArray) + sizeof(int) * (size_t)plan->size);
  taken->size = 0;
  for (int i = 0; i < plan->size && how == TAKE; i++) {
    Node *node;
    Registration *registration;
    if (context->node_and_registration(context, plan->data[i], &node, &registration) != OK) return FAILED;
    if (registration->builtin_code == SOFTMAX) taken->data[taken->size++] = plan->data[i];
  }
  Registration kernel = {.prepare = prepare_kernel, .invoke = invoke, .custom_name = "SoftmaxDelegate", .version = 1};
  int status = taken->size ? context->replace(context, kernel, taken, delegate) : OK;
  free(taken);
  return status;
}

void *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report_error)(const char *)) {
  Delegate *delegate = calloc(1, sizeof(Delegate));
  delegate->prepare = prepare;
  for (size_t i = 0; i < count; i++) {
    if (!strcmp(keys[i], "take") && !strcmp(values[i], "nothing")) {
      delegate->data = (void *)TAKE_NOTHING;
    } else if (!strcmp(keys[i], "fail")) {
      delegate->data = (void *)FAIL;
    } else {
      report_error("there is no such option");
      free(delegate);
      return NULL;
    }
  }
  return delegate;
}

void tflite_plugin_destroy_delegate(void *delegate) { free(delegate); }
