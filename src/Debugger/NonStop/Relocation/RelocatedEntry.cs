// Functions without the tracer's no-op: their first instructions (5 bytes or more) run elsewhere, and a jump there takes their place, as optimised kprobes do it (arch/x86/kernel/kprobes/opt.c). What
// stands there must be able to run elsewhere, and nothing may lead into its middle. Lengths are told by two decoders (Iced, Capstone), which must agree.
using System.Collections.Immutable;
using Iced.Intel;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>Decides whether a function's first instructions can be moved.</summary>
public static class RelocatedEntry
{
    /// <summary>Bytes of the jump that is written over them.</summary>
    public const int JumpLength = 5;

    private const int EndBranchLength = 4;

    /// <summary>Looks at the function that begins at an address.</summary>
    /// <param name="code">The object that it belongs to.</param>
    /// <param name="entry">Its first instruction: a link-time address in the kernel, a run-time address in a module.</param>
    /// <param name="plan">What to move.</param>
    /// <param name="reason">Why it cannot be, in words for people: <c>a jump leads into its first instructions</c>.</param>
    public static bool TryPlan(RelocatableCode code, ulong entry, out RelocationPlan plan, out string reason)
    {
        plan = null!;
        if (!code.Code.TryFindFunction(entry, out var function) || function.Value != entry || !function.IsFunction)
        {
            reason = "no function with a known size begins there";
            return false;
        }

        if (!code.Places.IsComplete)
        {
            reason = "the tables of what the kernel patches in its code cannot be read";
            return false;
        }

        if (code.Forbidden.ReasonFor(in function) is { } forbidden)
        {
            reason = forbidden;
            return false;
        }

        if (code.Places.ForbidsProbes(entry))
        {
            reason = "the kernel forbids probes in it (NOKPROBE_SYMBOL)";
            return false;
        }

        var bytes = code.Code.CodeAt(entry);
        bytes = bytes[..(int)Math.Min((ulong)bytes.Length, function.Size)];
        var patch = IsEndBranch(bytes) ? EndBranchLength : 0;
        if (!TryMeasure(code, bytes, patch, entry, out var instructions, out reason))
        {
            return false;
        }

        var (start, end) = (entry + (ulong)patch, entry + (ulong)(instructions[^1].Offset + instructions[^1].Length));
        if (code.Places.ReasonIn(start, end) is { } patched)
        {
            reason = patched;
            return false;
        }

        if (code.Targets.LeadInto(start + 1, end))
        {
            reason = "something leads into its first instructions";
            return false;
        }

        if (ReturnsToStart(code, bytes, entry, start))
        {
            reason = "its own code goes back to its first instruction";
            return false;
        }

        plan = new RelocationPlan(code.Code.Architecture.WordSize, entry, patch, instructions, [.. bytes[patch..(int)(end - entry)]]);
        return true;
    }

    internal static bool IsEndBranch(ReadOnlySpan<byte> code) => code is [0xf3, 0x0f, 0x1e, 0xfa or 0xfb, ..];

    /// <summary>The instructions that a jump would cover, if each can run elsewhere.</summary>
    private static bool TryMeasure(RelocatableCode code, ReadOnlySpan<byte> bytes, int patch, ulong entry, out ImmutableArray<MovedInstruction> instructions, out string reason)
    {
        instructions = [];
        var architecture = code.Code.Architecture;
        var window = bytes[patch..Math.Min(bytes.Length, patch + JumpLength + FlowDecoder.MaximumLength)].ToArray();
        var decoder = Decoder.Create(architecture.WordSize * 8, new ByteArrayCodeReader(window), entry + (ulong)patch);
        using var peer = new FlowDecoder(architecture, architecture.WordSize * 8);
        var moved = ImmutableArray.CreateBuilder<MovedInstruction>();
        for (var at = 0; at < JumpLength;)
        {
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid || at + instruction.Length > window.Length)
            {
                reason = at < window.Length || window.Length >= JumpLength ? "its first bytes are no instructions that are known" : "it is shorter than a jump";
                reason = at + patch >= bytes.Length || bytes.Length - patch < JumpLength ? "it is shorter than a jump" : reason;
                return false;
            }

            if (!peer.TryDecode(window.AsSpan(at), instruction.IP, out var flow) || flow.Next != instruction.NextIP)
            {
                reason = "two decoders read its first instructions differently";
                return false;
            }

            var offset = patch + at;
            at += instruction.Length;
            if (InstructionMove.ReasonAgainst(in instruction, isLast: at >= JumpLength) is { } against)
            {
                reason = against;
                return false;
            }

            moved.Add(new MovedInstruction(offset, instruction.Length));
        }

        instructions = moved.ToImmutable();
        reason = "";
        return true;
    }

    /// <summary>A loop back to the start would count as a call each time.</summary>
    private static bool ReturnsToStart(RelocatableCode code, ReadOnlySpan<byte> bytes, ulong entry, ulong start)
    {
        var decoder = Decoder.Create(code.Code.Architecture.WordSize * 8, new ByteArrayCodeReader(bytes.ToArray()), entry);
        var end = entry + (ulong)bytes.Length;
        while (decoder.IP < end)
        {
            decoder.Decode(out var instruction);
            if (instruction.FlowControl is FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch && instruction.Op0Kind is OpKind.NearBranch32 or OpKind.NearBranch64
                && instruction.NearBranchTarget is var target && (target == start || target == entry))
            {
                return true;
            }
        }

        return false;
    }
}
