using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>Against objdump: every instruction of .altinstr_aux belongs to the function that its piece's jump leads back to.</summary>
public sealed partial class OutOfLineTextTests
{
    private static readonly UnwindTable Table = new(X86_64.Instance, [StockUnwind.Kernel]);

    [Fact]
    public void Every_instruction_has_the_place_that_its_piece_goes_back_to()
    {
        var pending = new List<ulong>();
        var found = 0;
        foreach (Match line in Instruction().Matches(PeerProgram.Run("objdump", ["-d", "-j", OutOfLineText.Section, StockKernel.Vmlinux])))
        {
            pending.Add(Hex(line.Groups[1].Value));
            if (line.Groups[2].Value != "jmp")
            {
                continue;
            }

            foreach (var address in pending)
            {
                Assert.False(Table.IsText(address));
                var answer = Table.FindRuntimeText(address, new NoMemory());
                Assert.Null(answer.Missing);
                Assert.Equal(Hex(line.Groups[3].Value), answer.Original);
                Assert.Equal(line.Groups[4].Value, Table.FunctionAt(answer.Original));
                Assert.False(Table.FindRows(answer.Original).IsEmpty);
                found++;
            }

            pending.Clear();
        }

        Assert.Empty(pending);
        Assert.InRange(found, 1000, int.MaxValue);
    }

    [Fact]
    public void What_is_no_piece_has_none()
    {
        var text = StockUnwind.Kernel.OutOfLine!;
        var start = StockUnwind.Vmlinux.GetSectionAddress(OutOfLineText.Section);
        var length = StockUnwind.Vmlinux.GetSection(OutOfLineText.Section).Length;
        Assert.True(text.TryFindFunction(start, out _));
        Assert.False(text.TryFindFunction(start + 1, out _));
        Assert.False(text.TryFindFunction(start - 1, out _));
        for (var address = start + (ulong)length - 16; address < start + (ulong)length + 2; address++)
        {
            text.TryFindFunction(address, out _);
        }

        Assert.False(text.TryFindFunction(start + (ulong)length - 1, out _));
        Assert.False(text.TryFindFunction(start + (ulong)length, out _));
    }

    private static ulong Hex(string digits) => ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^([0-9a-f]{16}):\t[^\t]+\t(\w+) +(?:([0-9a-f]{16}) <([^>+]+)(?:\+0x[0-9a-f]+)?>)?", RegexOptions.Multiline)]
    private static partial Regex Instruction();

    private sealed class NoMemory : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> buffer) => MemoryReadResult.Unreadable;
    }
}
