using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Values;

/// <summary>A C program whose global variables have every kind of type. It is never run: its initialised memory is in the file, for us and for gdb.</summary>
internal static class ValuesProgram
{
    private const string Source = """
        typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64; typedef int irqreturn_t;
        signed char sc = -5; unsigned char uc = 250; short sh = -1234; unsigned short us = 65000; int i = -7, j = 3; unsigned int u = 4000000000u;
        long l = -100000; unsigned long ul = 0x80000001ul; long long ll = -0x123456789abcdefll; unsigned long long ull = 0xfedcba9876543210ull; char c = 'q'; _Bool yes = 1;
        u32 typed = 77; u8 small = 200; struct undefined; irqreturn_t handled = 1; double d = 1.5; float f = -0.25f;
        enum color { RED, GREEN = 5, BLUE = -2 } color = GREEN; enum bits { BIT_A = 1, BIT_B = 2, BIT_C = 4, BIT_D = 8 } bits = BIT_B | BIT_D;
        enum { ANONYMOUS_ENUMERATOR = 42 } anonymous;
        struct point { int x, y; };
        struct list_head { struct list_head *next, *prev; };
        struct node { int id; struct node *next; char name[8]; struct list_head list; };
        struct fields { unsigned a : 3; signed b : 5; unsigned c : 17; u64 wide : 40; signed tail : 4; _Bool flag : 1; enum bits e : 5; unsigned full : 32; };
        struct inner { union { struct { short low, high; }; int word; }; struct point p[3]; };
        struct outer { char tag; struct inner in; struct point *pp; int (*op)(int); const char *text; void *raw; struct outer *self; int grid[2][3]; struct { long deep; }; };
        struct flexible { int count; int items[]; };
        struct undefined *unknown;
        static int twice(int x) { return 2 * x; }
        int (*function)(int) = twice; int (*none)(int);
        struct point points[4] = { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } }; struct point *second = &points[1], *null;
        struct node third = { 3, 0, "three" }, two = { 2, &third, "two" }, first = { 1, &two, "one" };
        struct list_head list = { &two.list, &first.list };
        struct fields fields = { 5, -3, 99999, 0x9876543210ull, -8, 1, BIT_C, 0xdeadbeefu };
        struct outer outer = { 'T', { { { 0x1234, -2 } }, { { 10, 11 }, { 20, 21 }, { 30, 31 } } }, &points[2], twice, "hello", &points[3], &outer, { { 1, 2, 3 }, { 4, 5, 6 } }, { 987654321 } };
        struct flexible flexible = { 3, { 7, 8, 9 } };
        char text[16] = "ifconfig"; const char *pointer = "eth0-rx-0"; unsigned char mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
        int table[5] = { 10, 20, 30, 40, 50 }; long longs[3] = { -1, 2, -3 }; int *middle = &table[2]; int **pmiddle = &middle; void *raw = table; char *bytes = (char *)table;
        volatile const int constant = 12; int zeros[40]; static int hidden = 5;
        struct point copy;
        int main(void) { copy = points[0]; anonymous = ANONYMOUS_ENUMERATOR; return function(hidden); }
        """;

    /// <summary>The program's path.</summary>
    /// <param name="options"><c>-m32</c> for a program of 32 bits.</param>
    public static string Build(ScratchFolder folder, string options)
    {
        File.WriteAllText(folder.File("values.c"), Source);
        var output = folder.File("values");
        PeerProgram.Run("gcc", [.. options.Split(' ', StringSplitOptions.RemoveEmptyEntries), "-g", "-O0", "-w", "-nostdlib", "-static", "-no-pie", "-fno-pic", "-Wl,-e,main", "-o", output, folder.File("values.c")]);
        return output;
    }
}
