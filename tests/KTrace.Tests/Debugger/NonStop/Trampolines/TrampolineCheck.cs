using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.NonStop.Trampolines;
using Gee.External.Capstone;
using Gee.External.Capstone.X86;
using Architecture = KTrace.Symbols.Arch.Architecture;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>
/// Reads a trampoline's bytes with another program's eyes (Capstone): every byte is an instruction that trampolines may have, every path ends with everything popped that was pushed, and
/// loops are those that wait or that try to exchange again.
/// </summary>
internal static class TrampolineCheck
{
    private static readonly HashSet<string> Allowed =
    [
        "mov", "movabs", "movzx", "movsx", "movsxd", "lea", "add", "adc", "sub", "and", "or", "xor", "cmp", "test", "neg", "not", "shl", "shr", "sar", "imul", "mul", "div", "idiv",
        "cdq", "cqo", "bswap", "push", "pop", "pushfq", "popfq", "pushfd", "popfd", "cli", "cld", "pause", "rdtsc", "ret", "jmp", "rep movsq", "rep movsd", "rep movsb", "repne scasb",
        "lock cmpxchg", "lock cmpxchg8b", "lock xadd", "lock inc", "inc",
        "je", "jne", "ja", "jae", "jb", "jbe", "jl", "jle", "jg", "jge", "js", "jns",
        "sete", "setne", "seta", "setae", "setb", "setbe", "setl", "setle", "setg", "setge",
    ];

    private static readonly HashSet<string> Forbidden = ["xmm", "ymm", "zmm", "st(", "cr0", "cr3", "cr4", "dr", "cs:", "ds:", "es:", "ss:"];

    private static readonly string[] StackPointers = ["rsp", "esp"];

    /// <param name="roots">Where it is entered, as offsets.</param>
    /// <returns>What is wrong, for people.</returns>
    public static List<string> Complaints(CodeBlock block, Architecture architecture, params int[] roots) => Complaints(block, architecture, null, roots);

    /// <param name="goesTo">Where it may go on, with nothing of its own on the stack; null: nowhere.</param>
    public static List<string> Complaints(CodeBlock block, Architecture architecture, ulong? goesTo, params int[] roots)
    {
        var complaints = new List<string>();
        var all = Decode(block, architecture);
        var code = all.ToDictionary(i => i.Address);
        if (all.Sum(i => i.Bytes.Length) != block.Bytes.Length)
        {
            complaints.Add("not every byte belongs to an instruction");
        }

        var edges = new Dictionary<ulong, List<ulong>>();
        var stacks = new Dictionary<ulong, ImmutableList<string>>();
        var open = new Stack<(ulong Address, ImmutableList<string> Stack)>();
        foreach (var root in roots)
        {
            open.Push((block.Address + (ulong)root, []));
        }

        while (open.TryPop(out var next) && complaints.Count < 20)
        {
            var (address, stack) = next;
            if (!code.TryGetValue(address, out var instruction))
            {
                complaints.Add(Text($"0x{address:x} is jumped to and no instruction"));
                continue;
            }

            if (stacks.TryGetValue(address, out var before))
            {
                if (!before.SequenceEqual(stack))
                {
                    complaints.Add(Text($"{instruction.Text} at 0x{address:x} is reached with [{string.Join(' ', before)}] and [{string.Join(' ', stack)}] on the stack"));
                }

                continue;
            }

            stacks.Add(address, stack);
            edges.Add(address, []);
            CheckDistance(block, architecture, instruction, stack, complaints);
            var mnemonic = MnemonicOf(instruction.Text);
            if (!Allowed.Contains(mnemonic) || (!mnemonic.StartsWith("rep", StringComparison.Ordinal) && !IsTableRoot(instruction.Text) && Forbidden.Any(f => instruction.Text.Contains(f, StringComparison.Ordinal))))
            {
                complaints.Add(Text($"{instruction.Text} at 0x{address:x} has no business in a trampoline"));
            }

            var after = Push(instruction, mnemonic, stack, architecture.WordSize, complaints);
            if (mnemonic == "ret" || (mnemonic == "jmp" && instruction.Target is { } end && end == goesTo))
            {
                if (!after.IsEmpty)
                {
                    complaints.Add(Text($"a return at 0x{address:x} with [{string.Join(' ', after)}] on the stack"));
                }

                continue;
            }

            if (instruction.Target is { } target && mnemonic[0] == 'j')
            {
                if (target < block.Address || target >= block.End)
                {
                    complaints.Add(Text($"{instruction.Text} at 0x{address:x} leads out"));
                    continue;
                }

                edges[address].Add(target);
                open.Push((target, after));
            }

            if (mnemonic != "jmp")
            {
                edges[address].Add(address + (ulong)instruction.Bytes.Length);
                open.Push((address + (ulong)instruction.Bytes.Length, after));
            }
        }

        // Without the instructions that wait or try to exchange again, no way leads back to where it was.
        foreach (var still in edges.Keys.Where(a => code[a].Text.Contains("pause", StringComparison.Ordinal) || code[a].Text.Contains("cmpxchg", StringComparison.Ordinal)).ToList())
        {
            edges.Remove(still);
        }

        while (edges.Where(e => !e.Value.Any(edges.ContainsKey)).Select(e => e.Key).ToList() is { Count: > 0 } ends)
        {
            ends.ForEach(e => edges.Remove(e));
        }

        if (edges.Count > 0)
        {
            complaints.Add(Text($"{code[edges.Keys.Min()].Text} at 0x{edges.Keys.Min():x} leads into a loop that waits for nothing"));
        }

        return complaints;
    }

    /// <summary>CR3 is read, and nothing else of its kind.</summary>
    private static bool IsTableRoot(string text) => text is "mov rcx, cr3" or "mov ecx, cr3";

    /// <summary>Intel's syntax, so that operands can be read without their sizes in the name.</summary>
    private static List<Instruction> Decode(CodeBlock block, Architecture architecture)
    {
        using var capstone = CapstoneDisassembler.CreateX86Disassembler(architecture.WordSize == 8 ? X86DisassembleMode.Bit64 : X86DisassembleMode.Bit32);
        capstone.DisassembleSyntax = DisassembleSyntax.Intel;
        return [.. capstone.Disassemble([.. block.Bytes], (long)block.Address).Select(i => new Instruction(
            (ulong)i.Address, i.Bytes, $"{i.Mnemonic} {i.Operand}".Trim(),
            i.Mnemonic[0] == 'j' && i.Operand.StartsWith("0x", StringComparison.Ordinal) ? ulong.Parse(i.Operand[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : null))];
    }

    private sealed record Instruction(ulong Address, byte[] Bytes, string Text, ulong? Target);

    private static string MnemonicOf(string text)
    {
        var words = text.Split(' ', 3);
        return words[0] is "rep" or "lock" or "repne" ? words[0] + " " + words[1] : words[0];
    }

    /// <summary>What the block itself says of its frames.</summary>
    private static void CheckDistance(CodeBlock block, Architecture architecture, Instruction instruction, ImmutableList<string> stack, List<string> complaints)
    {
        var offset = (int)(instruction.Address - block.Address);
        var said = block.Frames.Last(f => f.Offset <= offset).FrameDistance;
        var pushedBefore = architecture.WordSize * (block.Frames[0].FrameDistance / architecture.WordSize);
        var is32BitScratch = stack.Where(s => s.StartsWith('#')).Sum(s => int.Parse(s[1..], CultureInfo.InvariantCulture));
        var real = pushedBefore + is32BitScratch + (architecture.WordSize * stack.Count(s => !s.StartsWith('#')));
        if (said != real)
        {
            complaints.Add(Text($"{instruction.Text} at 0x{instruction.Address:x}: the frame is {real} bytes above, not {said}"));
        }
    }

    private static ImmutableList<string> Push(Instruction instruction, string mnemonic, ImmutableList<string> stack, int wordSize, List<string> complaints)
    {
        var operands = instruction.Text[(instruction.Text.IndexOf(' ', StringComparison.Ordinal) + 1)..].Trim();
        switch (mnemonic)
        {
            case "push":
                return stack.Add(operands);
            case "pushfq" or "pushfd":
                return stack.Add("flags");
            case "pop" or "popfq" or "popfd":
                var wanted = mnemonic == "pop" ? operands : "flags";
                if (stack.IsEmpty || stack[^1] != wanted)
                {
                    complaints.Add(Text($"{instruction.Text} at 0x{instruction.Address:x} takes {(stack.IsEmpty ? "what is not its own" : stack[^1])}"));
                    return stack;
                }

                return stack.RemoveAt(stack.Count - 1);
        }

        var first = operands.Split(',')[0];
        if (!StackPointers.Contains(first) || mnemonic is "cmp" or "test")
        {
            return stack;
        }

        // Only room is made and given back.
        var bytes = mnemonic == "lea" && operands.Contains("sp - ", StringComparison.Ordinal) ? Number(operands, "sp - ") : mnemonic == "lea" && operands.Contains("sp + ", StringComparison.Ordinal) ? -Number(operands, "sp + ") : 0;
        if (bytes > 0)
        {
            return stack.Add("#" + bytes.ToString(CultureInfo.InvariantCulture));
        }

        if (bytes < 0 && !stack.IsEmpty && stack[^1] == "#" + (-bytes).ToString(CultureInfo.InvariantCulture))
        {
            return stack.RemoveAt(stack.Count - 1);
        }

        complaints.Add(Text($"{instruction.Text} at 0x{instruction.Address:x} moves the stack pointer"));
        return stack;
    }

    private static int Number(string operands, string behind)
    {
        var text = operands[(operands.IndexOf(behind, StringComparison.Ordinal) + behind.Length)..].TrimEnd(']');
        return text.StartsWith("0x", StringComparison.Ordinal) ? int.Parse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : int.Parse(text, CultureInfo.InvariantCulture);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
