/* A pretended program whose deeds stand in Python: NAME.exe runs NAME.py, which lies beside it, with its own arguments, by the
 * interpreter that FAKE_PROGRAMS_PYTHON names, and ends as that does. */
#include <windows.h>
#include <stdio.h>

#define LENGTH 8192

int wmain(void)
{
    static wchar_t python[LENGTH], self[LENGTH], line[3 * LENGTH];
    const wchar_t *arguments = GetCommandLineW();
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION child;
    DWORD status = 1;

    wchar_t end = *arguments == L'"' ? *arguments++ : L' ';
    while (*arguments && *arguments != end) arguments++;
    if (*arguments == L'"') arguments++;
    GetEnvironmentVariableW(L"FAKE_PROGRAMS_PYTHON", python, LENGTH);
    int length = GetModuleFileNameW(0, self, LENGTH);
    _snwprintf(line, 3 * LENGTH, L"\"%ls\" \"%.*ls.py\" %ls", python, length - 4, self, arguments);
    if (!CreateProcessW(0, line, 0, 0, TRUE, 0, 0, 0, &startup, &child)) return 1;
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &status);
    return status;
}
