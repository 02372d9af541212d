// Recursive descent from a function's entry. What the file shows is not all that can run: a static key's nop may be a jump in the running kernel and the other way
// round, an alternative may replace instructions, a faulting instruction may go on at its fixup, WARN goes on behind its ud2. All of these are edges here. Too many edges
// only cost answers; one too few would make them wrong, so whatever is not understood (an indirect jump that is no tail call, a byte that is no
// instruction, a jump into the middle of another function) ends the attempt.
using Gee.External.Capstone.X86;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Recovery;

/// <summary>Builds the flow of one function. Used once.</summary>
internal sealed class FlowBuilder
{
    private const int MaximumInstructions = 6000;
    private const int MaximumBlocks = 1500;

    private readonly CodeObject _code;
    private readonly InstructionDecoder _decoder;
    private readonly ElfSymbol _function;
    private readonly List<MachineInstruction> _decoded = [];
    private readonly Dictionary<ulong, int> _at = [];
    private readonly HashSet<ulong> _leaders = [];
    private readonly Stack<ulong> _todo = new();
    private readonly List<(ulong From, ulong To, FlowEdgeKind Kind, int Fixup)> _edges = [];
    private readonly Dictionary<ulong, ulong> _continues = [];
    private readonly HashSet<ulong> _stops = [];
    private readonly List<FlowExit> _exits = [];
    private readonly List<Alternative> _alternatives = [];
    private bool _failed;

    private FlowBuilder(CodeObject code, InstructionDecoder decoder, ElfSymbol function)
    {
        _code = code;
        _decoder = decoder;
        _function = function;
    }

    /// <summary>The flow of a function, or null when it cannot be told, or is too large.</summary>
    public static FunctionFlow? TryBuild(CodeObject code, InstructionDecoder decoder, in ElfSymbol function)
    {
        if (!code.Sites.IsComplete || function.Size == 0)
        {
            return null;
        }

        var builder = new FlowBuilder(code, decoder, function);
        builder.Decode();
        return builder._failed ? null : new FlowBlocks(in function, builder._decoded, builder._at, builder._leaders, builder._stops, builder._edges).Connect(builder._exits, builder._alternatives);
    }

    private void Decode()
    {
        Lead(_function.Value);
        while (!_failed && _todo.TryPop(out var address))
        {
            DecodeFrom(address);
        }
    }

    private void Lead(ulong address)
    {
        if (_leaders.Add(address))
        {
            _todo.Push(address);
        }
    }

    private void DecodeFrom(ulong address)
    {
        while (!_failed && !_at.ContainsKey(address))
        {
            if (_continues.TryGetValue(address, out var next) && !_leaders.Contains(address))
            {
                // The end of a replacement: nothing of it is there any more.
                return;
            }

            if (_decoded.Count >= MaximumInstructions || !_decoder.TryDecode(_code.CodeAt(address), address, out var instruction))
            {
                _failed = true;
                return;
            }

            _at.Add(address, _decoded.Count);
            _decoded.Add(instruction);
            var goesOn = Follow(in instruction);
            var end = instruction.End;
            if (_continues.TryGetValue(end, out next))
            {
                if (goesOn)
                {
                    Edge(address, next, FlowEdgeKind.After);
                    Lead(next);
                }

                _stops.Add(address);
                return;
            }

            if (!goesOn)
            {
                _stops.Add(address);
                return;
            }

            address = end;
        }

        // It ran into code that was decoded before, perhaps into the middle of a run.
        Split(address);
    }

    /// <summary>Notes where an instruction leads; true when also to the next one.</summary>
    private bool Follow(in MachineInstruction instruction)
    {
        var address = instruction.Address;
        var sites = _code.Sites;
        if (sites.Alternatives.TryGetValue(address, out var alternatives))
        {
            Split(address);
            foreach (var alternative in alternatives)
            {
                TakeAlternative(alternative);
            }
        }

        if (sites.Fixups.TryGetValue(address, out var fixup) && Local(fixup.Target) is JumpKind.Inside)
        {
            Split(address);
            Split(instruction.End);
            Edge(address, fixup.Target, FlowEdgeKind.Fault, fixup.Kind);
            Lead(fixup.Target);
        }

        var goesOn = true;
        if (sites.JumpLabels.TryGetValue(address, out var label))
        {
            Split(address);
            Jump(address, label, isConditional: true);
            Split(instruction.End);
            if (instruction.Id == X86InstructionId.X86_INS_JMP)
            {
                // The jump may be a nop in the running kernel.
                Edge(address, instruction.End, FlowEdgeKind.After);
                Lead(instruction.End);
            }
        }

        switch (instruction.Id)
        {
            case X86InstructionId.X86_INS_JMP:
                goesOn = false;
                if (instruction.First.IsImmediate)
                {
                    Jump(address, (ulong)instruction.First.Number, isConditional: false, instruction.Length);
                }
                else if (!JumpThroughTable(in instruction))
                {
                    // A tail call leaves by a register with the stack as it was; whether it was one, the value flow says.
                    _exits.Add(new FlowExit(address, 0));
                }

                break;
            case X86InstructionId.X86_INS_CALL:
                goesOn = !IsNoReturn(in instruction);
                break;
            case X86InstructionId.X86_INS_RET or X86InstructionId.X86_INS_RETF or X86InstructionId.X86_INS_RETFQ
                or X86InstructionId.X86_INS_IRET or X86InstructionId.X86_INS_IRETD or X86InstructionId.X86_INS_IRETQ
                or X86InstructionId.X86_INS_SYSRET or X86InstructionId.X86_INS_SYSEXIT:
                goesOn = false;
                break;
            case X86InstructionId.X86_INS_UD2:
                goesOn = sites.Warnings.Contains(address);
                break;
            case X86InstructionId.X86_INS_INT3:
                goesOn = false;
                break;
            case X86InstructionId.X86_INS_LJMP or X86InstructionId.X86_INS_LCALL or X86InstructionId.X86_INS_XBEGIN:
                _failed = true;
                break;
            case var id when IsConditionalJump(id):
                Jump(address, (ulong)instruction.First.Number, isConditional: true, instruction.Length);
                Split(instruction.End);
                Edge(address, instruction.End, FlowEdgeKind.After);
                Lead(instruction.End);
                break;
            default:
                break;
        }

        if (goesOn && instruction.Id != X86InstructionId.X86_INS_JMP && !IsInside(instruction.End) && !_continues.ContainsKey(instruction.End))
        {
            // A call that does not come back may be the last instruction; nothing else may.
            _failed |= instruction.Id != X86InstructionId.X86_INS_CALL;
            goesOn = false;
        }

        return goesOn;
    }

    private void TakeAlternative(in Alternative alternative)
    {
        var end = alternative.Address + (ulong)alternative.Length;
        _alternatives.Add(alternative);
        if (alternative.ReplacementLength == 0)
        {
            Edge(alternative.Address, end, FlowEdgeKind.Instead);
        }
        else
        {
            _continues[alternative.Replacement + (ulong)alternative.ReplacementLength] = end;
            Edge(alternative.Address, alternative.Replacement, FlowEdgeKind.Instead);
            Lead(alternative.Replacement);
        }

        if (!IsInside(end) && !_continues.ContainsKey(end))
        {
            // What is replaced is the function's last instruction (a jump); then so is the replacement.
            _continues.Remove(alternative.Replacement + (ulong)alternative.ReplacementLength);
            return;
        }

        Lead(end);
    }

    private void Split(ulong address) => _leaders.Add(address);

    private void Edge(ulong from, ulong to, FlowEdgeKind kind, int fixup = 0) => _edges.Add((from, to, kind, fixup));

    private void Jump(ulong address, ulong target, bool isConditional, int length = 0)
    {
        if (length > 0 && _code.External(address, length) is not null)
        {
            target = 0;
        }

        if (length > 0 && !isConditional && _code.Special(address, length, target) is SpecialFunction.ReturnThunk)
        {
            return;
        }

        switch (target == 0 ? JumpKind.Away : Local(target))
        {
            case JumpKind.Inside:
                Edge(address, target, FlowEdgeKind.After);
                Lead(target);
                break;
            case JumpKind.Away:
                _exits.Add(new FlowExit(address, target));
                break;
            default:
                _failed = true;
                break;
        }
    }

    private enum JumpKind
    {
        Inside,
        Away,
        Astray,
    }

    private JumpKind Local(ulong target)
    {
        if (IsInside(target))
        {
            return JumpKind.Inside;
        }

        if (!_code.IsCode(target))
        {
            return JumpKind.Astray;
        }

        if (!_code.Symbols.TryFindNearest(target, out ElfSymbol symbol) || target - symbol.Value >= symbol.Size)
        {
            // .fixup, .altinstr_aux: pieces of many functions without symbols. A label without size may be a function of assembly.
            return symbol.Value == target && symbol.Name is { Length: > 0 } ? JumpKind.Away : JumpKind.Inside;
        }

        if (IsPart(symbol.Name))
        {
            return JumpKind.Inside;
        }

        // Assembly jumps into the middle of other assembly; it is taken apart only where no such jump leads into it.
        return symbol.Value == target || !_function.IsFunction ? JumpKind.Away : JumpKind.Astray;
    }

    /// <summary>In the function itself, one of its cold parts, or code without a symbol that was jumped to.</summary>
    private bool IsInside(ulong address)
    {
        if (address - _function.Value < _function.Size)
        {
            return true;
        }

        return _code.IsCode(address)
            && (!_code.Symbols.TryFindNearest(address, out ElfSymbol symbol) || address - symbol.Value >= symbol.Size
                ? _leaders.Contains(address) || IsLoose(address)
                : IsPart(symbol.Name));
    }

    private bool IsLoose(ulong address) =>
        _code.Symbols.TryFindSection(address, out var section, out _) && section.Name is ".fixup" or ".altinstr_aux" or ".altinstr_replacement";

    private bool IsPart(string name) =>
        name.Length > _function.Name.Length && name.StartsWith(_function.Name, StringComparison.Ordinal) && name.AsSpan(_function.Name.Length).StartsWith(".cold");

    private bool IsNoReturn(in MachineInstruction call) =>
        call.First.IsImmediate && _code.Special(call.Address, call.Length, (ulong)call.First.Number) is SpecialFunction.NoReturn;

    private static bool IsConditionalJump(X86InstructionId id) => id is
        X86InstructionId.X86_INS_JAE or X86InstructionId.X86_INS_JA or X86InstructionId.X86_INS_JBE or X86InstructionId.X86_INS_JB
        or X86InstructionId.X86_INS_JCXZ or X86InstructionId.X86_INS_JECXZ or X86InstructionId.X86_INS_JRCXZ or X86InstructionId.X86_INS_JE
        or X86InstructionId.X86_INS_JGE or X86InstructionId.X86_INS_JG or X86InstructionId.X86_INS_JLE or X86InstructionId.X86_INS_JL
        or X86InstructionId.X86_INS_JNE or X86InstructionId.X86_INS_JNO or X86InstructionId.X86_INS_JNP or X86InstructionId.X86_INS_JNS
        or X86InstructionId.X86_INS_JO or X86InstructionId.X86_INS_JP or X86InstructionId.X86_INS_JS
        or X86InstructionId.X86_INS_LOOP or X86InstructionId.X86_INS_LOOPE or X86InstructionId.X86_INS_LOOPNE;

    /// <summary>jmp *table(,%reg,8): all entries from there on that lead into the function are where it may go. More of them than there are do no harm.</summary>
    private bool JumpThroughTable(in MachineInstruction jump)
    {
        var operand = jump.First;
        var word = _code.Architecture.WordSize;
        if (!operand.IsMemory || operand.Register != MachineOperand.NoRegister || operand.IndexRegister < 0 || operand.Scale != word || operand.HasSegment)
        {
            return false;
        }

        var table = (ulong)operand.Number;
        if (word == 4)
        {
            table = (uint)table;
        }

        if (!_code.Symbols.TryFindSection(table, out var section, out var start) || !section.HasContents || section.IsWritable || _code.External(jump.Address, jump.Length) is not null)
        {
            _failed = true;
            return true;
        }

        var bytes = _code.ContentsOf(section).Span[(int)(table - start)..];
        var count = 0;
        for (; (count + 1) * word <= bytes.Length && count < MaximumBlocks; count++)
        {
            var target = word == 8 ? BitConverter.ToUInt64(bytes[(count * 8)..]) : BitConverter.ToUInt32(bytes[(count * 4)..]);
            if (!IsInside(target))
            {
                break;
            }

            Edge(jump.Address, target, FlowEdgeKind.After);
            Lead(target);
        }

        _failed |= count == 0;
        return true;
    }
}
