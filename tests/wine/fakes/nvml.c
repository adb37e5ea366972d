/* nvml.dll: a pretended NVIDIA management library with one GPU. nvmlInit fails with the number in %FAKE_NVML_INIT%, if any. */
#include <stdlib.h>
#include <string.h>

#define NVML __declspec(dllexport) int
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, INSUFFICIENT_SIZE = 7 };

static int put(char *to, unsigned size, const char *text)
{
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

NVML nvmlInitWithFlags(unsigned flags)
{
    const char *failure = getenv("FAKE_NVML_INIT");
    (void)flags;
    return failure ? atoi(failure) : SUCCESS;
}
NVML nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
NVML nvmlShutdown(void) { return SUCCESS; }
__declspec(dllexport) const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Error"; }
NVML nvmlSystemGetDriverVersion(char *to, unsigned size) { return put(to, size, "581.80"); }
NVML nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return SUCCESS; }
NVML nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
NVML nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    *device = (void *)1;
    return index ? INVALID_ARGUMENT : SUCCESS;
}
NVML nvmlDeviceGetName(void *device, char *to, unsigned size) { (void)device; return put(to, size, "NVIDIA GeForce RTX 4090"); }
NVML nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor)
{
    (void)device;
    *major = 8, *minor = 9;
    return SUCCESS;
}
NVML nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used)
{
    (void)device;
    total_free_used[0] = 24564ull << 20, total_free_used[1] = 23540ull << 20, total_free_used[2] = 1024ull << 20;
    return SUCCESS;
}
NVML nvmlDeviceGetDriverModel_v2(void *device, unsigned *current, unsigned *pending)
{
    (void)device;
    *current = *pending = 0; /* WDDM */
    return SUCCESS;
}
