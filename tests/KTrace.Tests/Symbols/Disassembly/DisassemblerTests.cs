using System.Text.RegularExpressions;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Disassembly;

public sealed partial class DisassemblerTests
{
    [Fact]
    public void A_call_leads_where_the_processor_goes()
    {
        // call rel32 at 0xffffffff81000010: its target is relative to the next instruction.
        var instructions = Disassembler.Disassemble(X86_64.Instance, [0xe8, 0xeb, 0xff, 0xff, 0xff, 0xc3], 0xffffffff81000010);

        Assert.Equal([0xffffffff81000010, 0xffffffff81000015], instructions.Select(i => i.Address));
        Assert.Equal(0xffffffff81000000, instructions[0].Target);
        Assert.Null(instructions[1].Target);
    }

    [Fact]
    public void What_is_no_instruction_costs_one_byte()
    {
        var instructions = Disassembler.Disassemble(X86_64.Instance, [0x06, 0x90], 0x1000);

        Assert.Equal(["(bad)", "nop"], instructions.Select(i => i.Text.Trim()));
    }

    [Fact]
    public void Instructions_begin_where_objdump_says()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        foreach (var function in (string[])["request_threaded_irq", "__schedule", "do_syscall_64"])
        {
            Assert.True(image.TryFindSymbol(function, out var symbol));
            var code = new byte[symbol.Size];
            Assert.True(image.TryRead(symbol.Value, code));
            var objdump = PeerProgram.Run(
                "objdump", ["-d", $"--start-address=0x{symbol.Value:x}", $"--stop-address=0x{symbol.Value + symbol.Size:x}", StockKernel.Vmlinux]);

            var theirs = InstructionLine().Matches(objdump).Select(m => Convert.ToUInt64(m.Groups[1].Value, 16));
            Assert.Equal(theirs, Disassembler.Disassemble(image.Architecture, code, symbol.Value).Select(i => i.Address));
        }
    }

    // Long instructions have a second line of bytes, without a mnemonic.
    [GeneratedRegex(@"^\s*([0-9a-f]+):\t[0-9a-f ]+\t", RegexOptions.Multiline)]
    private static partial Regex InstructionLine();
}
