using System.Collections.Immutable;
using Iced.Intel;
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Relocation;

/// <param name="Offset">From the function's entry, in bytes.</param>
/// <param name="Length">In bytes.</param>
public readonly record struct MovedInstruction(int Offset, int Length);

/// <summary>First instructions of a function that can run elsewhere. Made by <see cref="RelocatedEntry.TryPlan"/>.</summary>
public sealed class RelocationPlan
{
    private readonly ImmutableArray<byte> _expected;

    internal RelocationPlan(int wordSize, ulong entry, int patchOffset, ImmutableArray<MovedInstruction> instructions, ImmutableArray<byte> expected)
    {
        (WordSize, Entry, PatchOffset, Instructions, _expected) = (wordSize, entry, patchOffset, instructions, expected);
    }

    /// <summary>4 or 8.</summary>
    public int WordSize { get; }

    /// <summary>The function, where the plan was made: at link time in the kernel, at run time in a module.</summary>
    public ulong Entry { get; }

    /// <summary>Where the jump is written, in bytes from the entry: behind endbr64, where there is one.</summary>
    public int PatchOffset { get; }

    /// <summary>What moves, in order, without a gap; the first at <see cref="PatchOffset"/>.</summary>
    public ImmutableArray<MovedInstruction> Instructions { get; }

    /// <summary>Bytes that move.</summary>
    public int Length => _expected.Length;

    /// <summary>Bytes that the block has at most: reserve so many for each.</summary>
    public int MaximumBlockSize => RelocatedEntry.JumpLength + (Instructions.Length * 15) + RelocatedEntry.JumpLength;

    /// <summary>
    /// Addresses at which instructions begin that the jump covers in part: whoever is about to execute one of them (the pc of a CPU, or of an interrupted context that lies on a stack) would find the
    /// jump's displacement there. None of the instructions before the last can be a call, so that a return address is never among them.
    /// </summary>
    /// <param name="entry">The function at run time.</param>
    public IEnumerable<ulong> Inside(ulong entry) =>
        Instructions.Where(i => i.Offset > PatchOffset && i.Offset < PatchOffset + RelocatedEntry.JumpLength).Select(i => entry + (ulong)i.Offset);

    /// <summary>Makes the block, out of what the guest has (the file's addresses are not yet relocated by KASLR).</summary>
    /// <param name="address">Where the block will be, at run time.</param>
    /// <param name="trampoline">The entry trampoline that it calls first.</param>
    /// <param name="entry">The function at run time.</param>
    /// <param name="code">The guest's bytes: <see cref="Length"/> of them, at the entry plus <see cref="PatchOffset"/>.</param>
    /// <param name="reason">Why there is none: the guest's instructions are others, or something is out of reach.</param>
    public bool TryAssemble(ulong address, ulong trampoline, ulong entry, ReadOnlySpan<byte> code, out RelocatedCode block, out string reason)
    {
        block = null!;
        var patch = entry + (ulong)PatchOffset;
        if (code.Length != Length)
        {
            reason = "its code could not be read";
            return false;
        }

        var isNarrow = WordSize == 4;
        reason = "its code, or what that refers to, is out of reach";
        var output = new List<byte>(MaximumBlockSize) { 0xe8 };
        if (!InstructionMove.TryAppendDistance(output, address + RelocatedEntry.JumpLength, trampoline, isNarrow))
        {
            return false;
        }

        var origins = ImmutableArray.CreateBuilder<(int, ulong)>(Instructions.Length + 2);
        origins.Add((0, patch));
        var (guest, file) = (DecoderOf(code, patch), DecoderOf(_expected.AsSpan(), Entry + (ulong)PatchOffset));
        var falls = true;
        foreach (var moved in Instructions)
        {
            guest.Decode(out var instruction);
            file.Decode(out var expected);
            var at = moved.Offset - PatchOffset;
            var offsets = guest.GetConstantOffsets(instruction);
            if (instruction.Length != moved.Length || instruction.Code != expected.Code || !IsSame(code.Slice(at, moved.Length), _expected.AsSpan(at, moved.Length), offsets))
            {
                reason = "the guest's code there is not the file's";
                return false;
            }

            var isInto = instruction.Op0Kind is OpKind.NearBranch32 or OpKind.NearBranch64 && instruction.NearBranchTarget - patch < (ulong)Length;
            origins.Add((output.Count, entry + (ulong)moved.Offset));
            if (isInto || !InstructionMove.TryMove(in instruction, offsets, code.Slice(at, moved.Length), address + (ulong)output.Count, output))
            {
                return false;
            }

            falls = instruction.FlowControl is FlowControl.Next or FlowControl.ConditionalBranch;
        }

        if (falls)
        {
            origins.Add((output.Count, patch + (ulong)Length));
            output.Add(0xe9);
            if (!InstructionMove.TryAppendDistance(output, address + (ulong)output.Count + 4, patch + (ulong)Length, isNarrow))
            {
                return false;
            }
        }

        var jump = new List<byte>(RelocatedEntry.JumpLength) { 0xe9 };
        if (!InstructionMove.TryAppendDistance(jump, patch + RelocatedEntry.JumpLength, address, isNarrow))
        {
            return false;
        }

        block = new RelocatedCode(new CodeBlock(address, [.. output]), patch, [.. jump], [.. code[..RelocatedEntry.JumpLength]], origins.ToImmutable());
        reason = "";
        return true;
    }

    private Decoder DecoderOf(ReadOnlySpan<byte> code, ulong address) => Decoder.Create(WordSize * 8, new ByteArrayCodeReader(code.ToArray()), address);

    /// <summary>The same but for addresses: relocations have changed constants of four bytes and more.</summary>
    private static bool IsSame(ReadOnlySpan<byte> guest, ReadOnlySpan<byte> file, ConstantOffsets offsets)
    {
        for (var i = 0; i < guest.Length; i++)
        {
            var isAddress = (offsets.DisplacementSize >= 4 && i >= offsets.DisplacementOffset && i < offsets.DisplacementOffset + offsets.DisplacementSize)
                || (offsets.ImmediateSize >= 4 && i >= offsets.ImmediateOffset && i < offsets.ImmediateOffset + offsets.ImmediateSize);
            if (guest[i] != file[i] && !isAddress)
            {
                return false;
            }
        }

        return true;
    }
}

/// <summary>A function's first instructions at their new place: <c>call trampoline; the instructions; jmp back</c>.</summary>
/// <param name="Block">What to write into the code area.</param>
/// <param name="Patch">Where to write <paramref name="Jump"/>, at run time.</param>
/// <param name="Jump">Five bytes: the jump to the block.</param>
/// <param name="Original">The five bytes that it replaces.</param>
/// <param name="Origins">From each offset in the block on: the address in the function that it stands for. Ascending by offset.</param>
public sealed record RelocatedCode(CodeBlock Block, ulong Patch, ImmutableArray<byte> Jump, ImmutableArray<byte> Original, ImmutableArray<(int Offset, ulong Address)> Origins)
{
    /// <summary>Where the trampoline returns to: what records say.</summary>
    public ulong Return => Block.Address + RelocatedEntry.JumpLength;

    /// <summary>
    /// Whose unwind row and name a pc in the block has, when it was interrupted there: the stack is the same as at the original instruction. (In the few bytes of a moved call, between the push and the
    /// jump, the stack has a word more than that row says.) Null outside the block.
    /// </summary>
    public ulong? OriginOf(ulong pc)
    {
        if (pc < Block.Address || pc >= Block.End)
        {
            return null;
        }

        var offset = (int)(pc - Block.Address);
        ulong? origin = null;
        foreach (var (start, address) in Origins)
        {
            origin = start <= offset ? address : origin;
        }

        return origin;
    }
}
