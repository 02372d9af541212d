using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

public sealed class TypeNameParserTests
{
    private static readonly Lazy<ObjectTypes> Kernel = new(() => ObjectTypes.Open(ElfFile.Open(StockKernel.Vmlinux), useDwarf: false));

    [Theory]
    [InlineData("struct irq_desc", "struct irq_desc", 448)]
    [InlineData("irq_desc", "struct irq_desc", 448)]
    [InlineData("u32", "u32", 4)]
    [InlineData("unsigned long int", "long unsigned int", 8)]
    [InlineData("int long unsigned", "long unsigned int", 8)]
    [InlineData("long", "long int", 8)]
    [InlineData("short unsigned", "short unsigned int", 2)]
    [InlineData("long long unsigned int", "long long unsigned int", 8)]
    [InlineData("unsigned", "unsigned int", 4)]
    [InlineData("signed char", "signed char", 1)]
    [InlineData("  struct   page  *  ", "struct page *", 8)]
    [InlineData("const char *const", "const char * const", 8)]
    [InlineData("char const*", "const char *", 8)]
    [InlineData("char [16]", "char[16]", 16)]
    [InlineData("int [2][0x3]", "int[2][3]", 24)]
    [InlineData("int (*)(int, void *)", "int (*)(int, void *)", 8)]
    [InlineData("void (*(*)(int irq, struct device *dev))(void)", "void (*(*)(int, struct device *))(void)", 8)]
    [InlineData("int (*)[4]", "int (*)[4]", 8)]
    [InlineData("char *[4]", "char *[4]", 32)]
    [InlineData("int (*[3])(const char *, ...)", "int (*[3])(const char *, ...)", 24)]
    [InlineData("void __user *", "void *", 8)]
    [InlineData("volatile struct task_struct __rcu **", "volatile struct task_struct **", 8)]
    [InlineData("enum pid_type", "enum pid_type", 4)]
    [InlineData("_Bool", "_Bool", 1)]
    public void Names_are_read_as_C_reads_them(string text, string expected, long size)
    {
        var type = TypeNameParser.Parse(text, Kernel.Value, out var error);
        Assert.Equal("", error);
        Assert.Equal((expected, size), (type!.ToString(), type.Size));
    }

    [Theory]
    [InlineData("struct irq_dsc", "no type 'struct irq_dsc'; near: struct irq_desc")]
    [InlineData("irq_dsc", "no type 'irq_dsc'; near: struct irq_desc")]
    [InlineData("union irq_desc", "there is 'struct irq_desc'")]
    [InlineData("struct", "is no type name")]
    [InlineData("", "is no type name")]
    [InlineData("int x y", "makes no sense")]
    [InlineData("struct page * + 1", "makes no sense")]
    [InlineData("short char", "is no type name")]
    [InlineData("long long long", "is no type name")]
    [InlineData("int [", "is no type name")]
    [InlineData("12", "is no type name")]
    public void What_is_none_is_explained(string text, string expected)
    {
        Assert.Null(TypeNameParser.Parse(text, Kernel.Value, out var error));
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("(struct page *)p", "struct page *", ")p")]
    [InlineData("(u32)(x)", "u32", ")(x)")]
    [InlineData("(u32 ) x", "u32", " ) x")]
    [InlineData("(unsigned long)&y", "long unsigned int", ")&y")]
    [InlineData("(u32)", "u32", ")")]
    public void A_cast_is_recognised_where_it_stands(string text, string expected, string rest)
    {
        var position = 1;
        Assert.True(TypeNameParser.TryParse(text, ref position, Kernel.Value, out var type));
        Assert.Equal((expected, rest), (type.ToString(), text[position..]));
    }

    [Theory]
    [InlineData("(jiffies_64)")]
    [InlineData("(1 + 2)")]
    [InlineData("(*p)")]
    [InlineData("(")]
    [InlineData("()")]
    public void What_is_no_cast_leaves_the_position(string text)
    {
        var position = 1;
        Assert.False(TypeNameParser.TryParse(text, ref position, Kernel.Value, out _));
        Assert.Equal(1, position);
    }

    [Fact]
    public void Base_types_need_no_debug_information()
    {
        var nothing = new ObjectTypes(null, null, 4);
        Assert.Equal(4, TypeNameParser.Parse("unsigned long", nothing, out _)!.Size);
        Assert.Equal(8, TypeNameParser.Parse("u64", nothing, out _)!.Size);
        Assert.Equal("void *", TypeNameParser.Parse("void *", nothing, out _)!.ToString());
    }

    [Fact]
    public void Hostile_texts_end()
    {
        foreach (var text in new[]
        {
            "int " + new string('*', 100_000), "int " + new string('(', 100_000), "int" + string.Concat(Enumerable.Repeat("[1]", 50_000)),
            "int " + string.Concat(Enumerable.Repeat("(*", 5000)), "int (" + string.Concat(Enumerable.Repeat("int (", 5000)), string.Concat(Enumerable.Repeat("const ", 20_000)),
        })
        {
            TypeNameParser.Parse(text, Kernel.Value, out _);
        }
    }

    [Fact]
    public void Random_texts_throw_nothing()
    {
        string[] words = ["int", "unsigned", "struct", "page", "*", "(", ")", "[", "]", "16", ",", "...", "const", "u32", " ", "enum", "void", "x", "\0", "é"];
        var random = new Random(11);
        for (var round = 0; round < 5000; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(1, 14)).Select(_ => words[random.Next(words.Length)] + (random.Next(2) == 0 ? " " : "")));
            var type = TypeNameParser.Parse(text, Kernel.Value, out _);
            _ = type?.ToString();
            _ = type?.Size;
        }
    }
}
