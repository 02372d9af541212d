namespace KTrace.Tests.Support;

/// <summary>A C program with inlined calls, sections, cold code and static functions of one name, compiled by a real compiler.</summary>
internal static class CompiledProgram
{
    private const string Header = """
        static inline int square(int x) { if (x > 3) { volatile int y = x * x; return y; } return x + 1; }
        static inline __attribute__((always_inline)) int twice(int x) { return square(x) + square(x + 1); }
        """;

    private const string Main = """
        #include "inlined.h"
        struct inner { char tag; union { long number; struct { short low; short high; }; }; };
        struct outer { int first; struct inner inner; const char *name; int table[3][5]; unsigned flag : 3; unsigned rest : 5; int tail[]; };
        extern int other(int);
        extern int sink(const char *, ...);
        volatile int counter;
        struct outer global;
        static __attribute__((noinline)) int work(int a, int b) { int s = 0; for (int i = 0; i < a; i++) { s += twice(i + b); if (s > 1000) { counter++; s -= square(s); } } return s; }
        __attribute__((section(".text.special"))) int special(int x) { return twice(x); }
        __attribute__((cold, noinline)) int cold(int x) { counter += x; return x; }
        static __attribute__((noinline)) int helper(int x) { counter += x; return square(x); }
        __attribute__((noinline)) int signature(struct outer *o, const char *const text, int (*callback)(void *, long), unsigned long numbers[4], ...)
        { return o->first + text[0] + callback(0, (long)numbers[1]); }
        int sink(const char *p, ...) { counter += p[0]; return counter; }
        int main(int c, char **v) { if (__builtin_expect(c > 5, 0)) return cold(c); return work(c, 3) + other(c) + special(c) + helper(c); }
        """;

    private const string Other = """
        #include "inlined.h"
        extern volatile int counter;
        static __attribute__((noinline)) int helper(int x) { counter -= x; return x; }
        int other(int x) { int r = 0; while (x-- > 0) r += twice(x); return r + helper(x); }
        """;

    /// <summary>The path of the program; with <c>-c</c> among the options, of the object file.</summary>
    public static string Build(ScratchFolder folder, string compiler, string options)
    {
        File.WriteAllText(folder.File("inlined.h"), Header);
        File.WriteAllText(folder.File("main.c"), Main);
        File.WriteAllText(folder.File("other.c"), Other);
        var output = folder.File("program");
        var words = options.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var sources = words.Contains("-c") ? new[] { folder.File("main.c") } : [folder.File("main.c"), folder.File("other.c")];
        PeerProgram.Run(compiler, [.. words, "-w", "-o", output, .. sources]);
        return output;
    }
}
