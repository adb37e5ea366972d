/* bcryptprimitives.dll: Wine 8 has none, and every Rust extension (tokenizers, safetensors, pydantic_core) needs its ProcessPrng. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* advapi32's name for RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    for (ULONG part; length; data += part, length -= part) {
        part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(data, part)) return FALSE;
    }
    return TRUE;
}
