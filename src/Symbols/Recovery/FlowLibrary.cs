using System.Collections.Immutable;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Recovery;

/// <summary>What is asked of a frame's code: a place before the instruction at an address, or (<see cref="Entry"/>) at the function's entry.</summary>
/// <param name="Pc">The frame's pc, in the object's addresses.</param>
/// <param name="At">The address, or one of the constants.</param>
/// <param name="Register">The register, or -1 for a slot.</param>
/// <param name="Offset">The slot: bytes from the CFA, at <see cref="Call"/> from the stack pointer.</param>
/// <param name="Loaded">What memory held there, in place of a register or slot.</param>
internal readonly record struct FlowQuestion(ulong Pc, bool IsCall, ulong At, int Register, long Offset = 0, int Size = 0, LoadedTerm? Loaded = null)
{
    public const ulong Entry = ulong.MaxValue, Call = ulong.MaxValue - 1;
}

/// <summary>Ways to a value at one place.</summary>
/// <param name="StackPointer">The frame's stack pointer, in bytes from its CFA; null when the code does not tell.</param>
internal sealed record FlowAnswer(ImmutableArray<ValueRecipe> Recipes, long? StackPointer)
{
    public static FlowAnswer None { get; } = new([], null);
}

/// <summary>The flows of one object, and what was asked of them. Bounded; for one thread at a time.</summary>
internal sealed class FlowLibrary(CodeObject code, Func<ulong, ImmutableArray<FrameObject>>? objectsAt = null) : IDisposable
{
    // A boot's hot paths lead through some 300 functions. There are at most twice so many: those that were asked for since the room was used up last, and those before.
    private const int MaximumFlows = 256;
    private const int MaximumAnswers = 1 << 15;

    private readonly InstructionDecoder _decoder = new(code.Architecture);
    private readonly RegisterNumbers _registers = new(code.Architecture);
    private Dictionary<ulong, RecipeFinder?> _flows = [];
    private Dictionary<ulong, RecipeFinder?> _olderFlows = [];
    private readonly Dictionary<ulong, ulong> _entries = [];
    private readonly Dictionary<FlowQuestion, FlowAnswer> _answers = [];
    private readonly Dictionary<(ulong Pc, bool IsCall, ulong At), bool> _passed = [];
    private readonly Dictionary<(ulong Jump, int Register), (int PassedIn, long Addend, int Bits)> _passedOn = [];

    public CodeObject Code => code;

    public RegisterNumbers Registers => _registers;

    public void Dispose() => _decoder.Dispose();

    /// <summary>Where the function is entered that holds an address; 0 when that is not known.</summary>
    public ulong EntryOf(ulong address)
    {
        if (_entries.TryGetValue(address, out var entry))
        {
            return entry;
        }

        if (code.TryFindFunction(address, out var symbol))
        {
            entry = symbol.Value;
            if (symbol.Name.Contains(".cold", StringComparison.Ordinal))
            {
                entry = code.Symbolizer?.FindFunctionAt(address)?.LowPc ?? 0;
                entry = entry == symbol.Value ? 0 : entry;
            }
        }

        if (_entries.Count >= MaximumAnswers)
        {
            _entries.Clear();
        }

        return _entries[address] = entry;
    }

    /// <summary>The flow of the function that holds an address, or null.</summary>
    public RecipeFinder? FlowOf(ulong address)
    {
        var entry = EntryOf(address);
        if (entry == 0)
        {
            return null;
        }

        if (_flows.TryGetValue(entry, out var finder))
        {
            return finder;
        }

        if (!_olderFlows.TryGetValue(entry, out finder) && code.TryFindFunction(entry, out var symbol) && symbol.Value == entry && (IsCompiled(in symbol) || !OutsideJumps.MayLeadInto(code, _decoder, in symbol))
            && FlowBuilder.TryBuild(code, _decoder, in symbol) is { } flow && ValueFlow.TryRun(flow, code, _registers, objectsAt) is { } values)
        {
            finder = new RecipeFinder(values);
        }

        if (_flows.Count >= MaximumFlows)
        {
            (_flows, _olderFlows) = (_olderFlows, _flows);
            _flows.Clear();
        }

        return _flows[entry] = finder;
    }

    /// <summary>A compiler made it, and so it is entered at its beginning alone. Without debug information a function's type has to do.</summary>
    private bool IsCompiled(in ElfSymbol symbol) => symbol.IsFunction && (code.Symbolizer is not { HasDwarf: true } symbolizer || symbolizer.FindFunctionAt(symbol.Value) is not null);

    /// <summary>Every way to a frame's pc leads through an address of its function. False where that cannot be told.</summary>
    public bool MustPass(ulong pc, bool isCall, ulong at)
    {
        if (_passed.TryGetValue((pc, isCall, at), out var must))
        {
            return must;
        }

        if (FlowOf(isCall ? pc - 1 : pc) is { } finder && finder.Flow.Flow.Find(at) is >= 0 and var through)
        {
            var places = finder.PlacesAt(pc, isCall);
            must = !places.IsEmpty && places.All(place => finder.Flow.Flow.MustPass(through, place.Instruction));
        }

        if (_passed.Count >= MaximumAnswers)
        {
            _passed.Clear();
        }

        return _passed[(pc, isCall, at)] = must;
    }

    /// <summary>Where a value can be found.</summary>
    public FlowAnswer Ask(in FlowQuestion question)
    {
        if (_answers.TryGetValue(question, out var answer))
        {
            return answer;
        }

        answer = WorkOut(in question);
        if (_answers.Count >= MaximumAnswers)
        {
            _answers.Clear();
        }

        return _answers[question] = answer;
    }

    /// <summary>What a register (or, with -1, a word above the return address) holds before a tail call's jump, in terms of the function's entry; empty when that does not say it.</summary>
    public ImmutableArray<ValueRecipe> AtJump(ulong jump, int register, long offset)
    {
        if (FlowOf(jump) is not { } finder || finder.Flow.Flow.Blocks[0].Predecessors.Count > 0 || finder.Flow.Flow.Find(jump) is not (>= 0 and var index)
            || finder.Flow.Before(index) is not { } state || state[_registers.StackPointer] != FlowValues.Cfa(-_registers.Word))
        {
            return [];
        }

        // Of the frame nothing is left, so no register and no slot can be shown.
        var place = new FlowPlace(index, state, 0, false);
        if (register < 0 && finder.Flow.Places.Find(offset, _registers.Word) < 0)
        {
            return [.. finder.FindEntrySlot(offset, place).Where(r => r is ValueRecipe.EntrySlot)];
        }

        var value = Held(finder.Flow, state, register, offset, _registers.Word);
        return [.. finder.Find(value, place).Where(r => r is ValueRecipe.Constant or ValueRecipe.EntryRegister or ValueRecipe.EntrySlot)];
    }

    /// <summary>The register in which a tail call passes on what its function was entered with in another one.</summary>
    public bool TryPassedOn(ulong jump, int register, out int passedIn, out long addend, out int bits)
    {
        if (!_passedOn.TryGetValue((jump, register), out var known))
        {
            FindPassedOn(jump, register, out known.PassedIn, out known.Addend, out known.Bits);
            if (_passedOn.Count >= MaximumAnswers)
            {
                _passedOn.Clear();
            }

            _passedOn[(jump, register)] = known;
        }

        (passedIn, addend, bits) = known;
        return passedIn >= 0;
    }

    private void FindPassedOn(ulong jump, int register, out int passedIn, out long addend, out int bits)
    {
        (passedIn, addend, bits) = (-1, 0, 0);
        if (FlowOf(jump) is { Flow.Flow: var function } && function.FindHolding(jump) is >= 0 and var index)
        {
            var address = function.Instruction(index).Address;
            for (var candidate = 0; candidate < _registers.Count; candidate++)
            {
                foreach (var recipe in AtJump(address, candidate, 0))
                {
                    if (recipe is ValueRecipe.EntryRegister entry && entry.Index == register && recipe.Bits > bits)
                    {
                        (passedIn, addend, bits) = (candidate, entry.Addend, recipe.Bits);
                    }
                }
            }
        }
    }

    private FlowAnswer WorkOut(in FlowQuestion question)
    {
        if (FlowOf(question.IsCall ? question.Pc - 1 : question.Pc) is not { } finder)
        {
            return FlowAnswer.None;
        }

        FlowAnswer? answer = null;
        foreach (var place in finder.PlacesAt(question.Pc, question.IsCall))
        {
            var recipes = Recipes(finder, place, in question);
            var stack = place.State[_registers.StackPointer];
            var one = new FlowAnswer(recipes, stack.IsCfa ? stack.Addend : null);
            // Two instructions may be the one that is under way; what is said has to hold for both.
            if (answer is not null && (answer.StackPointer != one.StackPointer || !answer.Recipes.SequenceEqual(one.Recipes)))
            {
                return FlowAnswer.None;
            }

            answer = one;
        }

        return answer ?? FlowAnswer.None;
    }

    private ImmutableArray<ValueRecipe> Recipes(RecipeFinder finder, FlowPlace place, in FlowQuestion question)
    {
        var flow = finder.Flow;
        switch (question.At)
        {
            case FlowQuestion.Entry when flow.Flow.Blocks[0].Predecessors.Count > 0:
                // A function that jumps to its own beginning was entered more than once.
                return [];
            case FlowQuestion.Entry:
                return question.Register >= 0
                    ? finder.Find(flow.Values.EntryRegister(question.Register), place)
                    : finder.FindEntrySlot(question.Offset, place);
            case FlowQuestion.Call:
                return finder.Find(Held(flow, place.State, question.Register, place.State[_registers.StackPointer] is { IsCfa: true } stack ? stack.Addend + question.Offset : null, question.Size), place);
        }

        var at = question.At;
        var start = flow.Flow.Find(at);
        if (start < 0 || flow.Flow.Alternatives.Exists(a => at > a.Address && at < a.Address + (ulong)a.Length) || flow.Before(start) is not { } before)
        {
            return [];
        }

        if (question.Loaded is { } term)
        {
            var loaded = LoadFinder.Find(flow, start, term, place.Instruction, out var from);
            return finder.Find(ValueTracker.Follow(flow, from, loaded, place.Instruction), place);
        }

        if (question.Register < 0 && question.Offset >= 0 && flow.Places.Find(question.Offset, question.Size) < 0)
        {
            return finder.FindEntrySlot(question.Offset, place);
        }

        var value = Held(flow, before, question.Register, question.Offset, question.Size);
        return finder.Find(ValueTracker.Follow(flow, start, value, place.Instruction), place);
    }

    private static FlowValue Held(ValueFlow flow, FlowState state, int register, long? offset, int size)
    {
        if (register >= 0)
        {
            return register < flow.Registers.Count ? state[register] : FlowValues.Unknown;
        }

        return offset is { } known && flow.Places.Find(known, size) is >= 0 and var place ? state[place] : FlowValues.Unknown;
    }
}
