/* fuzz_heap.c: the operations of model.c, chosen by the bytes of a fuzzer (libFuzzer). script/fuzz --heap
 * runs it. */
#include "model.h"

#define MIB ((size_t)1 << 20)

/* Memory that LeakSanitizer or libFuzzer would count is the model's, and freed; the heap's comes from the
 * system. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct model model;
    const struct model_options options = {.reserve = bytes % 2 ? 64 * MIB : 512 * MIB,
                                          .at_most = bytes % 3 ? 24 * MIB : 90 * MIB,
                                          .ticks = bytes % 5 == 0};
    model.input = data;
    model.input_end = data + bytes;
    model_new(&model, &options, model_input_below);
    model.alone = true;
    while (model.input < model.input_end) {
        model_step(&model);
        if (model.steps % 8 == 0)
            model_check(&model);
    }
    model_verify_all(&model);
    while (model.count > 0)
        model_release(&model, model.count - 1);
    model_verify_all(&model);
    model_free(&model);
    return 0;
}
