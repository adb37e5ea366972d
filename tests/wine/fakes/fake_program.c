/* A pretended tool. Copied to NAME.exe, it prints NAME.out to stdout and NAME.err to stderr, byte for byte, where they lie beside
 * it; then it does what NAME.end says: a number is its exit status, "crash" is a memory fault, "hang" is to stay for ever, with
 * a child that stays too and holds the same pipes. */
#include <windows.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>

static wchar_t self[MAX_PATH * 4];

static FILE *beside(const wchar_t *extension)
{
    wchar_t path[MAX_PATH * 4 + 8];
    _snwprintf(path, sizeof path / sizeof *path, L"%.*ls%ls", (int)wcslen(self) - 4, self, extension);
    return _wfopen(path, L"rb");
}

static void copy(const wchar_t *extension, FILE *to)
{
    int byte;
    FILE *from = beside(extension);
    _setmode(_fileno(to), _O_BINARY);
    while (from && (byte = fgetc(from)) != EOF) fputc(byte, to);
    fflush(to);
}

static void hang(void)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION child;
    if (!GetEnvironmentVariableW(L"FAKE_CHILD", 0, 0)) {
        SetEnvironmentVariableW(L"FAKE_CHILD", L"1");
        CreateProcessW(self, 0, 0, 0, TRUE, 0, 0, 0, &startup, &child);
    }
    Sleep(INFINITE);
}

int wmain(void)
{
    char end[16] = "0";
    GetModuleFileNameW(0, self, sizeof self / sizeof *self);
    copy(L".out", stdout);
    copy(L".err", stderr);
    FILE *file = beside(L".end");
    if (file) fgets(end, sizeof end, file);
    if (*end == 'h') hang();
    if (*end == 'c') *(volatile int *)0 = 0;
    return atoi(end);
}
