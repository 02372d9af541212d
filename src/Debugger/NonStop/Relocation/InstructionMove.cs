// One instruction at another place. Displacements are patched; a short jump becomes a near one. A call is always the last that moves, as it has five bytes: it becomes a push of its own return address and
// a jump, so that the callee, and whoever looks at the stack, sees the address that it would have seen.
using System.Buffers.Binary;
using Iced.Intel;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>Which instructions can run elsewhere, and how they look there.</summary>
internal static class InstructionMove
{
    /// <summary>Why an instruction cannot be moved, or null.</summary>
    public static string? ReasonAgainst(in Instruction instruction, bool isLast)
    {
        switch (instruction.FlowControl)
        {
            case FlowControl.Next:
                break;
            case FlowControl.ConditionalBranch when instruction.IsJccShortOrNear:
                return null;
            case FlowControl.UnconditionalBranch when instruction.IsJmpShortOrNear && isLast:
            case FlowControl.Call when instruction.Code is Code.Call_rel32_64 or Code.Call_rel32_32 && isLast:
            case FlowControl.Return when isLast && instruction.Mnemonic == Mnemonic.Ret:
                return null;
            default:
                return $"it begins with an instruction that cannot be moved ({instruction.Mnemonic.ToString().ToLowerInvariant()})";
        }

        return instruction.IsPrivileged || instruction.Mnemonic is Mnemonic.Nop && instruction.HasLockPrefix || HasOwnMeaning(instruction.Mnemonic)
            ? $"it begins with an instruction that cannot be moved ({instruction.Mnemonic.ToString().ToLowerInvariant()})"
            : null;
    }

    /// <summary>Writes an instruction so that it does at <paramref name="address"/> what it does where it was decoded.</summary>
    /// <param name="original">Its bytes.</param>
    /// <returns>False: what it refers to is too far away.</returns>
    public static bool TryMove(in Instruction instruction, ConstantOffsets offsets, ReadOnlySpan<byte> original, ulong address, List<byte> output)
    {
        if (instruction.IsJccShortOrNear)
        {
            output.AddRange([0x0f, (byte)(0x80 | ConditionOf(in instruction))]);
            return TryAppendDistance(output, address + 6, instruction.NearBranchTarget, instruction);
        }

        if (instruction.IsJmpShortOrNear)
        {
            output.Add(0xe9);
            return TryAppendDistance(output, address + 5, instruction.NearBranchTarget, instruction);
        }

        if (instruction.FlowControl == FlowControl.Call)
        {
            output.Add(0x68);
            if (instruction.Code == Code.Call_rel32_64 && (ulong)(int)instruction.NextIP != instruction.NextIP)
            {
                return false;
            }

            Append(output, (uint)instruction.NextIP);
            output.Add(0xe9);
            return TryAppendDistance(output, address + 10, instruction.NearBranchTarget, instruction);
        }

        var start = output.Count;
        output.AddRange(original);
        if (!instruction.IsIPRelativeMemoryOperand)
        {
            return true;
        }

        var distance = (long)(instruction.IPRelativeMemoryAddress - (address + (ulong)original.Length));
        if (distance != (int)distance || offsets.DisplacementSize != 4)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, (int)distance);
        for (var i = 0; i < 4; i++)
        {
            output[start + offsets.DisplacementOffset + i] = bytes[i];
        }

        return true;
    }

    public static void Append(List<byte> output, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        output.AddRange(bytes);
    }

    /// <param name="behind">The address behind the instruction.</param>
    public static bool TryAppendDistance(List<byte> output, ulong behind, ulong target, bool isNarrow)
    {
        var distance = (long)(target - behind);
        Append(output, (uint)distance);
        return isNarrow || distance == (int)distance;
    }

    private static bool TryAppendDistance(List<byte> output, ulong behind, ulong target, in Instruction instruction) =>
        TryAppendDistance(output, behind, target, instruction.Op0Kind == OpKind.NearBranch32);

    private static int ConditionOf(in Instruction instruction) => instruction.ConditionCode switch
    {
        ConditionCode.o => 0x0,
        ConditionCode.no => 0x1,
        ConditionCode.b => 0x2,
        ConditionCode.ae => 0x3,
        ConditionCode.e => 0x4,
        ConditionCode.ne => 0x5,
        ConditionCode.be => 0x6,
        ConditionCode.a => 0x7,
        ConditionCode.s => 0x8,
        ConditionCode.ns => 0x9,
        ConditionCode.p => 0xa,
        ConditionCode.np => 0xb,
        ConditionCode.l => 0xc,
        ConditionCode.ge => 0xd,
        ConditionCode.le => 0xe,
        _ => 0xf,
    };

    /// <summary>Instructions about themselves, or about what follows them.</summary>
    private static bool HasOwnMeaning(Mnemonic mnemonic) => mnemonic is Mnemonic.Popfq or Mnemonic.Popfd or Mnemonic.Popf or Mnemonic.Sti or Mnemonic.Cli or Mnemonic.Endbr64
        or Mnemonic.Endbr32 or Mnemonic.Cpuid or Mnemonic.In or Mnemonic.Out or Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd or Mnemonic.Outsb or Mnemonic.Outsw
        or Mnemonic.Outsd or Mnemonic.Stac or Mnemonic.Clac;
}
