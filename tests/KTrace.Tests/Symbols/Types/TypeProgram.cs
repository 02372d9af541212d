using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

/// <summary>A C program with every kind of type and of variable, compiled by a real compiler.</summary>
internal static class TypeProgram
{
    private const string Shared = """
        struct hidden;
        struct list { struct list *next, **prev; };
        extern struct hidden *keep(struct hidden *);
        """;

    private const string Main = """
        #include "shared.h"
        typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64; typedef _Bool boolean;
        typedef int (*handler_t)(int, void *);
        enum color { RED, GREEN = 7, BLUE };
        enum wide { MINUS = -3, ZERO = 0, PLUS = 100000 };
        enum flags { HIGH = 0x80000000u, LOW = 1 };
        struct bits { u32 a : 3, b : 7; int c : 5; u8 d : 2; u64 e : 33; boolean f : 1; u32 : 0; u32 g : 1; int tail; };
        struct packed { u8 a; u32 b; u64 c; } __attribute__((packed));
        struct unnamed { int first; union { long number; struct { short low; short high; }; char text[12]; }; struct { u8 x, y; } point[3]; enum { ON, OFF } state; };
        struct arrays { char name[16]; int table[2][3][4]; struct list lists[2]; handler_t handlers[4]; const char *const words[2]; int flexible[]; };
        struct pointers { void *any; const volatile int *cv; int *const *constant; int (*callback)(const char *, ...); void (*(*nested)(int))(long); int (*row)[4];
                          struct hidden *hidden; char *restrict limited; union { int i; float f; } *inner; };
        struct empty {};
        struct holes { char a; long b; char c; short d; struct empty e; long double f; double g; char h; };
        struct inner { int x; char y; };
        struct outer { struct inner inner; char z; struct inner more[2]; int counter; } __attribute__((aligned(64)));
        union either { int i; double d; struct inner s; };
        struct bits bits; struct packed packed; struct unnamed unnamed; struct arrays *arrays; struct pointers pointers; struct holes holes; struct outer outer;
        union either either; enum color color = GREEN; enum wide wide; enum flags flags;
        static int counter = 3;
        extern int table[]; int table[5] = { 1 };
        extern u64 declared_first; u64 declared_first = 9;
        static volatile struct inner same = { 1, 2 };
        int step(void) { static long calls = 4; return (int)++calls; }
        int work(int count, struct list *head, handler_t handler) { return count + counter + same.x + (head ? handler(1, head) : 0); }
        struct hidden *keep(struct hidden *h) { return h; }
        extern int other(void);
        int main(int argc, char **argv) { counter += argc + step() + table[0] + (int)declared_first; return work(argc, 0, 0) + other() + (keep(0) != 0) + argv[0][0]; }
        """;

    private const string Other = """
        #include "shared.h"
        struct hidden { int secret; struct list *list; };
        static volatile char same[40] = "other";
        static long counter = 5;
        struct hidden hidden = { 42, 0 };
        int other(void) { return hidden.secret + same[1] + (int)counter++ + (keep(&hidden) == 0); }
        """;

    public static string Compile(ScratchFolder folder, string compiler, string options)
    {
        File.WriteAllText(folder.File("shared.h"), Shared);
        File.WriteAllText(folder.File("main.c"), Main);
        File.WriteAllText(folder.File("other.c"), Other);
        var program = folder.File("program");
        PeerProgram.Run(compiler, [.. options.Split(' '), "-w", "-o", program, folder.File("main.c"), folder.File("other.c")]);
        return program;
    }
}
