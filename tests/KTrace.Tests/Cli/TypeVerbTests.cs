using System.Text;
using System.Text.Json;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Types;

namespace KTrace.Tests.Cli;

public sealed class TypeVerbTests : IDisposable
{
    private readonly KTraceProgram _ktrace = new();
    private readonly ScratchFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _ktrace.Dispose();
    }

    [Fact]
    public void A_structure_of_the_fetched_kernel_is_printed_like_pahole_does()
    {
        var run = _ktrace.Run("type", "struct", "irq_desc");
        Assert.Equal((0, ""), (run.ExitCode, run.Errors));
        Assert.Equal(PaholeText.Normalize(PeerProgram.Run("pahole", ["-F", "btf", "-C", "irq_desc", StockKernel.Vmlinux])), PaholeText.Normalize(run.Output));
        Assert.Contains("\n\tunsigned int *             kstat_irqs;           /*    96     8 */\n", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Json_has_members_with_offsets_sizes_bit_fields_and_what_has_no_name()
    {
        var program = TypeProgram.Compile(_folder, "gcc", "-gdwarf-5 -O1");
        var run = _ktrace.Run("type", "--json", "--vmlinux", program, "struct bits");
        Assert.Equal((0, ""), (run.ExitCode, run.Errors));
        Assert.Single(run.Output.TrimEnd('\n').Split('\n'));
        var bits = JsonDocument.Parse(run.Output).RootElement;
        Assert.Equal(("bits", "struct", 16), (bits.GetProperty("name").GetString(), bits.GetProperty("kind").GetString(), bits.GetProperty("size").GetInt32()));
        Assert.Equal(
            ["a u32 0 4 0 3", "b u32 0 4 3 7", "c int 0 4 10 5"], bits.GetProperty("members").EnumerateArray().Take(3).Select(Text));
        Assert.False(bits.GetProperty("members").EnumerateArray().Last().TryGetProperty("bit_size", out _));

        var unnamed = JsonDocument.Parse(_ktrace.Run("type", "--json", "--vmlinux", program, "struct unnamed").Output).RootElement;
        var union = unnamed.GetProperty("members")[1];
        Assert.Equal("", union.GetProperty("name").GetString());
        Assert.Equal([("number", 8, 8), ("", 8, 4), ("text", 8, 12)], union.GetProperty("members").EnumerateArray()
            .Select(m => (m.GetProperty("name").GetString()!, m.GetProperty("offset").GetInt32(), m.GetProperty("size").GetInt32())));
        Assert.Equal("high", union.GetProperty("members")[1].GetProperty("members")[1].GetProperty("name").GetString());

        var color = JsonDocument.Parse(_ktrace.Run("type", "--json", "--vmlinux", program, "enum", "wide").Output).RootElement;
        Assert.Equal([("MINUS", -3), ("ZERO", 0), ("PLUS", 100000)], color.GetProperty("enumerators").EnumerateArray().Select(e => (e.GetProperty("name").GetString()!, e.GetProperty("value").GetInt32())));
    }

    [Theory]
    [InlineData("u32", "typedef unsigned int u32;  /* size: 4 */\n")]
    [InlineData("handler_t", "typedef int (*handler_t)(int, void *);  /* size: 8 */\n")]
    [InlineData("enum color", "enum color {\n\tRED   = 0,\n\tGREEN = 7,\n\tBLUE  = 8,\n};\n")]
    [InlineData("GREEN", "enum color {\n\tRED   = 0,\n\tGREEN = 7,\n\tBLUE  = 8,\n};\n")]
    [InlineData("unsigned long", "long unsigned int;  /* size: 8 */\n")]
    [InlineData("struct page *", null)]
    [InlineData("work", "int work(int count, struct list *head, handler_t handler);  /* 0x*")]
    [InlineData("table", "int table[5];  /* 0x*, size: 20 */\n")]
    [InlineData("other.c:same", "volatile char same[40];  /* 0x*, size: 40 */\n")]
    [InlineData("nothing.c:same", null)]
    public void Types_variables_and_functions_are_told_by_name(string name, string? expected)
    {
        var program = TypeProgram.Compile(_folder, "gcc", "-gdwarf-5 -O1");
        var run = _ktrace.Run("type", "--vmlinux", program, name);
        Assert.Equal(expected is null ? 1 : 0, run.ExitCode);
        if (expected?.Split('*') is { Length: > 1 } && expected.Contains("0x*", StringComparison.Ordinal))
        {
            Assert.StartsWith(expected[..expected.IndexOf("0x*", StringComparison.Ordinal)], run.Output, StringComparison.Ordinal);
            Assert.EndsWith(expected[(expected.IndexOf("0x*", StringComparison.Ordinal) + 3)..], run.Output, StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal(expected ?? "", run.Output);
        }
    }

    [Fact]
    public void A_module_by_name_or_by_file_is_asked_before_the_kernel()
    {
        var byName = _ktrace.Run("type", "--module", "e1000e", "--vmlinux", StockKernel.Vmlinux, "struct e1000_adapter");
        Assert.Equal((0, ""), (byName.ExitCode, byName.Errors));
        var byFile = _ktrace.Run("type", "--module", StockKernel.Module("e1000e"), "--vmlinux", StockKernel.Vmlinux, "struct e1000_adapter");
        Assert.Equal(byName.Output, byFile.Output);
        var variable = _ktrace.Run("type", "--module", "e1000e", "--vmlinux", StockKernel.Vmlinux, "e1000_intr_msix_rx");
        Assert.StartsWith("irqreturn_t e1000_intr_msix_rx(int irq, void *data);", variable.Output, StringComparison.Ordinal);
        var missing = _ktrace.Run("type", "--module", "no_such_module", "--vmlinux", StockKernel.Vmlinux, "struct page");
        Assert.Equal(2, missing.ExitCode);
        Assert.Contains("try: ktrace kernel fetch --module no_such_module", missing.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_that_does_not_exist_brings_near_ones_and_a_file_without_types_what_to_do()
    {
        var run = _ktrace.Run("type", "struct irq_dsc");
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.Contains("no type 'struct irq_dsc'; near: struct irq_desc", run.Errors, StringComparison.Ordinal);
        var program = TypeProgram.Compile(_folder, "gcc", "-O1");
        run = _ktrace.Run("type", "--vmlinux", program, "struct outer");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("neither .BTF nor DWARF", run.Errors, StringComparison.Ordinal);
        Assert.Contains("try: ", run.Errors, StringComparison.Ordinal);
        Assert.Equal(2, _ktrace.Run("type", "--vmlinux", "/nowhere/vmlinux", "struct outer").ExitCode);
        Assert.Equal(2, _ktrace.Run("type", "--vmlinux", _ktrace.Write("text", "no ELF"), "struct outer").ExitCode);
        Assert.Equal(2, _ktrace.Run("type").ExitCode);
    }

    [Fact]
    public void Names_with_control_characters_do_not_reach_the_terminal_raw()
    {
        var program = TypeProgram.Compile(_folder, "gcc", "-gdwarf-4 -O1");
        // The same length, so that nothing else moves.
        var bytes = File.ReadAllBytes(program);
        for (var at = bytes.AsSpan().IndexOf("flexible\0"u8); at >= 0; at = bytes.AsSpan().IndexOf("flexible\0"u8))
        {
            Encoding.ASCII.GetBytes("a\u001b[31m\nb").CopyTo(bytes, at);
        }

        File.WriteAllBytes(program, bytes);
        foreach (var options in new[] { new[] { "type" }, ["type", "--json"] })
        {
            var run = _ktrace.Run([.. options, "--vmlinux", program, "struct arrays"]);
            Assert.Equal(0, run.ExitCode);
            Assert.DoesNotContain('\u001b', run.Output);
            Assert.Contains("[31m", run.Output, StringComparison.Ordinal);
            Assert.DoesNotContain("\nb", run.Output, StringComparison.Ordinal);
        }
    }

    private static string Text(JsonElement m) => string.Join(' ', m.GetProperty("name").GetString(), m.GetProperty("type").GetString(), m.GetProperty("offset").GetInt32(), m.GetProperty("size").GetInt32(),
        m.GetProperty("bit_offset").GetInt32(), m.GetProperty("bit_size").GetInt32());
}
