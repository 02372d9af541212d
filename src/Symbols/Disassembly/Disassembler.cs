// Instructions by Capstone 4 (Gee.External.Capstone). It numbers addresses with signed 64 bits and takes no negative ones, so code is
// decoded as if it stood at 0 and branch targets are moved afterwards.
using System.Collections.Immutable;
using System.Globalization;
using Gee.External.Capstone;
using Gee.External.Capstone.X86;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Disassembly;

/// <param name="Bytes">Its machine code.</param>
/// <param name="Text">Mnemonic and operands in AT&amp;T's order, as the kernel's developers write it; a direct branch's operand is its target's address.</param>
/// <param name="Target">Where a direct branch or call leads, or null.</param>
public sealed record Instruction(ulong Address, ImmutableArray<byte> Bytes, string Text, ulong? Target);

/// <summary>Machine code to text.</summary>
public static class Disassembler
{
    /// <summary>Decodes all of <paramref name="code"/>. What is no instruction is given byte by byte as <c>(bad)</c>.</summary>
    /// <param name="address">Where the code's first byte stands.</param>
    public static IReadOnlyList<Instruction> Disassemble(Architecture architecture, ReadOnlySpan<byte> code, ulong address)
    {
        var mode = architecture.WordSize == 8 ? X86DisassembleMode.Bit64 : X86DisassembleMode.Bit32;
        using var capstone = CapstoneDisassembler.CreateX86Disassembler(mode);
        capstone.DisassembleSyntax = DisassembleSyntax.Att;
        var instructions = new List<Instruction>();
        for (var at = 0; at < code.Length;)
        {
            foreach (var decoded in capstone.Disassemble(code[at..].ToArray(), at))
            {
                instructions.Add(Convert(decoded, address, architecture));
                at += decoded.Bytes.Length;
            }

            if (at < code.Length)
            {
                instructions.Add(new Instruction(address + (ulong)at, [code[at]], "(bad)", null));
                at++;
            }
        }

        return instructions;
    }

    private static Instruction Convert(X86Instruction decoded, ulong start, Architecture architecture)
    {
        var isBranch = decoded.Mnemonic.StartsWith('j') || decoded.Mnemonic.StartsWith("call", StringComparison.Ordinal) || decoded.Mnemonic.StartsWith("loop", StringComparison.Ordinal);
        var operand = decoded.Operand;
        ulong? target = null;
        if (isBranch && operand.StartsWith("0x", StringComparison.Ordinal)
            && ulong.TryParse(operand.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var relative))
        {
            target = architecture.WordSize == 4 ? (uint)(relative + start) : relative + start;
            operand = $"0x{target:x}";
        }

        return new Instruction(start + (ulong)decoded.Address, [.. decoded.Bytes], operand.Length == 0 ? decoded.Mnemonic : $"{decoded.Mnemonic} {operand}", target);
    }
}
