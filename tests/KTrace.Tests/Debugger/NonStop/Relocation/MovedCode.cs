using Iced.Intel;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Symbols.Kernel;

namespace KTrace.Tests.Debugger.NonStop.Relocation;

/// <summary>Compares a block with the instructions that it stands for, as text: mnemonics and operands with addresses.</summary>
internal static class MovedCode
{
    // Behind all kernel text, and within reach of it, as the real one.
    public static ulong BlockFor(int wordSize) => wordSize == 8 ? 0xfffffffff0000040 : 0xf0000040;

    public static RelocatedCode Assemble(KernelImage image, RelocationPlan plan)
    {
        var bytes = new byte[plan.Length];
        Assert.True(image.TryRead(plan.Entry + (ulong)plan.PatchOffset, bytes));
        var address = BlockFor(plan.WordSize);
        Assert.True(plan.TryAssemble(address, address - 0x40, plan.Entry, bytes, out var block, out var reason), $"0x{plan.Entry:x}: {reason}");
        return block;
    }

    public static void AssertSame(KernelImage image, RelocationPlan plan)
    {
        var block = Assemble(image, plan);
        var bytes = new byte[plan.Length];
        Assert.True(image.TryRead(block.Patch, bytes));
        Assert.Equal(bytes[..5], block.Original);
        Assert.True(plan.Length >= 5 && plan.Length < 20 && block.Block.Bytes.Length <= plan.MaximumBlockSize);

        var bits = plan.WordSize * 8;
        var jump = Assert.Single(Decode([.. block.Jump], block.Patch, bits));
        Assert.Equal((Mnemonic.Jmp, block.Block.Address), (jump.Mnemonic, jump.NearBranchTarget));

        var moved = new Queue<Instruction>(Decode([.. block.Block.Bytes], block.Block.Address, bits));
        var call = moved.Dequeue();
        Assert.Equal((Mnemonic.Call, block.Block.Address - 0x40, block.Return), (call.Mnemonic, call.NearBranchTarget, call.NextIP));
        var originals = Decode(bytes, block.Patch, bits);
        Assert.Equal(plan.Instructions.Select(i => i.Length), originals.Select(i => i.Length));
        foreach (var original in originals)
        {
            var copy = moved.Dequeue();
            Assert.Equal(original.IP, block.OriginOf(copy.IP));
            if (original.Mnemonic == Mnemonic.Call)
            {
                // The callee finds the return address that it would have found.
                Assert.Equal((Mnemonic.Push, original.NextIP), (copy.Mnemonic, bits == 64 ? copy.GetImmediate(0) : copy.Immediate32));
                copy = moved.Dequeue();
                Assert.Equal((Mnemonic.Jmp, original.NearBranchTarget), (copy.Mnemonic, copy.NearBranchTarget));
                Assert.Empty(moved);
                return;
            }

            Assert.Equal(Text(original), Text(copy));
        }

        if (originals[^1].FlowControl is FlowControl.Next or FlowControl.ConditionalBranch)
        {
            var back = moved.Dequeue();
            Assert.Equal((Mnemonic.Jmp, block.Patch + (ulong)plan.Length), (back.Mnemonic, back.NearBranchTarget));
            Assert.Equal(block.Patch + (ulong)plan.Length, block.OriginOf(back.IP));
        }

        Assert.Empty(moved);
        Assert.All(plan.Inside(plan.Entry), inside => Assert.InRange(inside, block.Patch + 1, block.Patch + 4));
    }

    /// <summary>Addresses are absolute in it; the size of a branch's displacement is not in it.</summary>
    private static string Text(Instruction instruction)
    {
        var formatter = new GasFormatter();
        formatter.Options.RipRelativeAddresses = false;
        formatter.Options.ShowBranchSize = false;
        var text = new StringOutput();
        formatter.Format(instruction, text);
        return text.ToStringAndReset();
    }

    private static List<Instruction> Decode(byte[] bytes, ulong address, int bits)
    {
        var decoder = Decoder.Create(bits, new ByteArrayCodeReader(bytes), address);
        var list = new List<Instruction>();
        while (decoder.IP < address + (ulong)bytes.Length)
        {
            decoder.Decode(out var instruction);
            Assert.False(instruction.IsInvalid);
            list.Add(instruction);
        }

        return list;
    }
}
