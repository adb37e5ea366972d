/* aedebug.exe: the "debugger" that Wine calls for a crashed process. It does nothing, so that the process ends at once with
 * its true exit code (0xC0000005); winedbg would dump to stderr for ten seconds, and with none Wine lets the rest run on. */
#include <windows.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc > 2) SetEvent((HANDLE)(size_t)strtoull(argv[2], 0, 10));
    return 0;
}
