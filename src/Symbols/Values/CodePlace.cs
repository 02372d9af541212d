using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>What is known of one address of code before any register is looked at: the functions there, and how their variables are found.</summary>
internal sealed class CodePlace
{
    private const int MaximumNodes = 256;

    /// <summary>The unit of the function with the stack frame; null where there is no debug information.</summary>
    public Unit? Unit { get; private init; }

    /// <summary>The function that has the stack frame.</summary>
    public DwarfFunction Function { get; private init; }

    public KernelCalls.Part Part { get; private init; }

    /// <summary>Address of the place, in the object file.</summary>
    public ulong Address { get; private init; }

    public ulong RunTimeAddress => Part.ToRunTime(Address);

    /// <summary>Where the function is entered, at run time; 0 when not known.</summary>
    public ulong Entry { get; private init; }

    /// <summary>The innermost frame stands before its function's first real instruction: nothing was changed since the call.</summary>
    public bool IsAtEntry { get; private init; }

    public bool IsExternal { get; private init; }

    public ExpressionBytes FrameBase { get; private init; }

    /// <summary>As many as the place has names, in their order; of those without debug information null.</summary>
    public ImmutableArray<FrameScope?> Scopes { get; private init; } = [];

    /// <param name="isStopped">The CPU stands at the address: inlined blocks that begin there have not been entered yet.</param>
    public static CodePlace Read(KernelMap map, Func<Symbolizer, DwarfTypes> typesOf, ulong address, bool isStopped)
    {
        var names = map.Symbolize(address);
        var skipped = isStopped ? names.TakeWhile(f => f.IsInline && f.Offset == 0).Count() : 0;
        var part = map.Calls.At(address);
        try
        {
            var at = part.ToObject(address);
            if (part is { Calls: { } calls, Symbolizer: { } symbolizer } && calls.TryFindFunction(at, out var function))
            {
                return Read(map, typesOf(symbolizer), part, calls, in function, at, names.Count, skipped, isStopped);
            }
        }
        catch (MalformedFileException)
        {
            // Damage costs the function that has it.
        }

        return new CodePlace { Part = part, Address = part.ToObject(address), Scopes = [.. new FrameScope?[names.Count - skipped]] };
    }

    private static CodePlace Read(
        KernelMap map, DwarfTypes types, KernelCalls.Part part, CallSites calls, in DwarfFunction function, ulong at, int names, int skipped, bool isStopped)
    {
        var unit = calls.UnitAt(function.Unit);
        var tree = new InlineTree();
        tree.Load(unit, function.Entry, default);
        var chain = new List<int>();
        for (var index = tree.Innermost(at); index > 0 && chain.Count < MaximumNodes; index = tree[index].Parent)
        {
            chain.Add(tree[index].Entry);
        }

        chain.Add(function.Entry);
        var dies = chain.ConvertAll(entry => ScopeReader.Read(unit, entry, at));
        var scopes = new FrameScope?[names - skipped];
        var root = dies[^1];
        if (chain.Count == names)
        {
            var plans = new PlaceVariables(map, types, part, unit, at, function.Start, dies, isStopped ? 0 : CallInstructionAt(map, part, at));
            for (var i = dies.Count - 1; i >= skipped; i--)
            {
                var depth = i;
                scopes[i - skipped] = new FrameScope(
                    i == dies.Count - 1 ? plans.OfFunction() : plans.OfInline(i),
                    new Lazy<ImmutableArray<VariablePlan>>(() => plans.Locals(depth), LazyThreadSafetyMode.None),
                    IsInline: i < dies.Count - 1);
            }
        }

        return new CodePlace
        {
            Unit = unit,
            Function = function,
            Part = part,
            Address = at,
            Entry = part.ToRunTime(function.Start),
            IsAtEntry = isStopped && IsBeforeFirstInstruction(map, part, function.Start, at),
            IsExternal = root.IsExternal,
            FrameBase = root.FrameBase,
            Scopes = [.. scopes],
        };
    }

    /// <summary>
    /// Where the call begins whose last byte is at an address, at run time: call rel32, or call through a register. 0 for others, as where they begin depends on what is before.
    /// </summary>
    private static ulong CallInstructionAt(KernelMap map, KernelCalls.Part part, ulong last)
    {
        Span<byte> code = stackalloc byte[5];
        if (!TryReadCode(map, part, last - 4, code))
        {
            return 0;
        }

        // An operand of another call may look like call rel32, but would hardly lead to code.
        var target = last + 1 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[1..]);
        if (code[0] == 0xe8)
        {
            return map.Unwind.IsText(part.ToRunTime(target)) ? part.ToRunTime(last - 4) : 0;
        }

        return code[3] == 0xff && code[4] is >= 0xd0 and <= 0xd7 && (code[2] & 0xf0) != 0x40 ? part.ToRunTime(last - 1) : 0;
    }

    private static bool TryReadCode(KernelMap map, KernelCalls.Part part, ulong address, Span<byte> code)
    {
        if (part.Slid is not null)
        {
            return map.Image.TryRead(address, code);
        }

        if (map.ModuleAt(address)?.Code is not { } sections || part.Symbols is null || !part.Symbols.TryFindSection(address, out var section, out var start))
        {
            return false;
        }

        var bytes = sections.GetSection(section.Name).Span;
        var offset = address - start;
        if (offset > (ulong)bytes.Length || (ulong)bytes.Length - offset < (ulong)code.Length)
        {
            return false;
        }

        bytes.Slice((int)offset, code.Length).CopyTo(code);
        return true;
    }

    /// <summary>endbr64 and the call of __fentry__ (or the nop that replaced it) come before a function's own code, and change no register.</summary>
    private static bool IsBeforeFirstInstruction(KernelMap map, KernelCalls.Part part, ulong start, ulong at)
    {
        if (at == start)
        {
            return true;
        }

        Span<byte> code = stackalloc byte[16];
        if (at < start || at - start > 9 || !TryReadCode(map, part, start, code))
        {
            return false;
        }

        ReadOnlySpan<byte> endbr64 = [0xf3, 0x0f, 0x1e, 0xfa];
        ReadOnlySpan<byte> endbr32 = [0xf3, 0x0f, 0x1e, 0xfb];
        ReadOnlySpan<byte> nop = [0x0f, 0x1f, 0x44, 0x00, 0x00];
        var length = code.StartsWith(endbr64) || code.StartsWith(endbr32) ? 4 : 0;
        if (at - start == (ulong)length)
        {
            return true;
        }

        var isPatched = code[length..].StartsWith(nop) || (code[length] == 0xe8 && map.Image.Symbols.Find("__fentry__").Count > 0);
        return isPatched && at - start == (ulong)length + 5;
    }
}

/// <summary>Makes the plans of one place's variables.</summary>
internal sealed class PlaceVariables(
    KernelMap map, DwarfTypes types, KernelCalls.Part part, Unit unit, ulong at, ulong start, List<ScopeDie> dies, ulong call)
{
    // Twins of one parameter; the second is tried when the first is gone.
    private const int MaximumTwins = 4;

    private readonly bool _frameBaseIsCfa = PassingPlace.IsCfa(dies[^1].FrameBase);
    private readonly VariablePlan?[][] _parameters = new VariablePlan?[dies.Count][];
    private readonly ImmutableArray<VariablePlan>[] _locals = new ImmutableArray<VariablePlan>[dies.Count];

    public ImmutableArray<VariablePlan> OfFunction()
    {
        var die = dies[^1];
        var kinds = die.Parameters.ConvertAll(TypeOf);
        var places = Passing(die, kinds);
        var plans = ImmutableArray.CreateBuilder<VariablePlan>(die.Parameters.Count);
        for (var i = 0; i < die.Parameters.Count; i++)
        {
            var parameter = die.Parameters[i];
            plans.Add(new VariablePlan
            {
                Die = parameter,
                Type = kinds[i],
                Size = SizeOf(kinds[i]),
                Constant = ConstantOf(parameter, kinds[i]),
                Now = At(parameter, at),
                LostRegister = LostRegister(parameter),
                LostTerm = LostTerm(parameter, SizeOf(kinds[i])),
                CallInstruction = call,
                AtEntry = AtEntry(parameter),
                Passed = places[i],
            });
        }

        _parameters[dies.Count - 1] = [.. plans];
        return plans.MoveToImmutable();
    }

    public ImmutableArray<VariablePlan> OfInline(int index)
    {
        var die = dies[index];
        var plans = ImmutableArray.CreateBuilder<VariablePlan>(die.Parameters.Count);
        var isPart = die.IsPartOf(dies[index + 1]);
        foreach (var parameter in die.Parameters)
        {
            var type = TypeOf(parameter);
            var began = parameter.HasOneLocation ? default : At(parameter, die.EntryPc);
            plans.Add(new VariablePlan
            {
                Die = parameter,
                Type = type,
                Size = SizeOf(type),
                Constant = ConstantOf(parameter, type),
                Now = At(parameter, at),
                LostRegister = LostRegister(parameter),
                LostTerm = LostTerm(parameter, SizeOf(type)),
                CallInstruction = call,
                AtEntry = began,
                TermAtEntry = Term(parameter, in began, SizeOf(type)),
                AtEntryIsLasting = LastingExpression.Is(parameter.Unit, in began),
                Twins = began.IsNone ? [] : TwinsOf(index, began, die.EntryPc, SizeOf(type)),
                Whole = isPart && _parameters[index + 1][plans.Count] is { } whole && whole.Name == parameter.Name ? whole : null,
                BlockEntry = part.ToRunTime(die.EntryPc),
            });
        }

        _parameters[index] = [.. plans];
        return plans.MoveToImmutable();
    }

    /// <summary>Innermost block first; a name that an inner block has hides those of outer ones.</summary>
    public ImmutableArray<VariablePlan> Locals(int index)
    {
        if (!_locals[index].IsDefault)
        {
            return _locals[index];
        }

        var plans = ImmutableArray.CreateBuilder<VariablePlan>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var local in dies[index].Locals)
        {
            if (local.Name.Length > 0 && !seen.Add(local.Name))
            {
                continue;
            }

            var type = TypeOf(local);
            plans.Add(new VariablePlan
            {
                Die = local, Type = type, Size = SizeOf(type), Constant = ConstantOf(local, type), Now = At(local, at), LostRegister = LostRegister(local), LostTerm = LostTerm(local, SizeOf(type)), CallInstruction = call,
            });
        }

        return _locals[index] = plans.ToImmutable();
    }

    private ImmutableArray<VariablePlan> TwinsOf(int index, ExpressionBytes began, ulong entry, int size)
    {
        var twins = ImmutableArray.CreateBuilder<VariablePlan>();
        for (var outer = index + 1; outer < dies.Count && twins.Count < MaximumTwins; outer++)
        {
            foreach (var candidate in _parameters[outer].Concat(Locals(outer)))
            {
                if (candidate is not null && candidate.Size == size && twins.Count < MaximumTwins
                    && At(candidate.Die, entry) is var location && location.IsSame(in began) && !candidate.Now.IsNone)
                {
                    twins.Add(candidate);
                }
            }
        }

        return twins.ToImmutable();
    }

    private ImmutableArray<ArgumentPlace> Passing(ScopeDie die, List<CType> kinds)
    {
        var architecture = map.Image.Architecture;
        var isClone = part.Symbols is null || !part.Symbols.TryFindNearest(start, out ElfSymbol symbol) || symbol.Value != start || symbol.Name.Contains('.');
        var result = types.TypeAt(die.ReturnType);
        var places = isClone || die.IsUnusual ? [] : ArgumentPassing.Of(architecture, kinds, result, die.IsVariadic);
        var agreed = 0;
        for (var i = 0; i < places.Length; i++)
        {
            var known = AtEntry(die.Parameters[i]) is { IsNone: false } expression ? PassingPlace.Of(in expression, architecture.StackPointer, _frameBaseIsCfa) : default;
            var isSame = known.Kind switch
            {
                PassingPlaceKind.Register => places[i].Kind == ArgumentPlaceKind.Register && places[i].Register == known.Register,
                PassingPlaceKind.Stack when known.Offset >= 0 => places[i].Kind == ArgumentPlaceKind.Stack && places[i].Offset == known.Offset,
                _ => (bool?)null,
            };
            if (isSame == false)
            {
                return [.. new ArgumentPlace[kinds.Count]];
            }

            agreed += isSame == true ? 1 : 0;
        }

        // i386 has several conventions, and only the debug information tells which one a function has.
        var isSure = places.Length == kinds.Count && (architecture.WordSize == 8 || agreed > 0);
        return isSure ? places : [.. new ArgumentPlace[kinds.Count]];
    }

    /// <summary>A place in the function's own frame is where a parameter is copied to, not where it is passed.</summary>
    private ExpressionBytes AtEntry(VariableDie parameter)
    {
        var expression = At(parameter, start);
        var isLocal = !expression.IsNone && expression.Span[0] == DwOp.Fbreg
            && PassingPlace.Of(in expression, map.Image.Architecture.StackPointer, _frameBaseIsCfa) is not { Kind: PassingPlaceKind.Stack, Offset: >= 0 };
        return isLocal ? default : expression;
    }

    private int LostRegister(VariableDie variable) =>
        PassingPlace.Of(Lost(variable), map.Image.Architecture.StackPointer, frameBaseIsCfa: false) is { Kind: PassingPlaceKind.Register } place ? place.Register : -1;

    private LoadedTerm? LostTerm(VariableDie variable, int size) => Term(variable, Lost(variable), size);

    /// <summary>The location that ends with the call. GCC ends such a range one byte before the return address, so that the byte before still shows it.</summary>
    private ExpressionBytes Lost(VariableDie variable) => call == 0 || variable.HasOneLocation || !At(variable, at).IsNone ? default : At(variable, at - 1);

    private static LoadedTerm? Term(VariableDie variable, in ExpressionBytes expression, int size)
    {
        try
        {
            return LoadedExpression.Read(variable.Unit, in expression, size);
        }
        catch (MalformedFileException)
        {
            return null;
        }
    }

    private static ExpressionBytes At(VariableDie variable, ulong address)
    {
        try
        {
            return variable.At(address);
        }
        catch (MalformedFileException)
        {
            return default;
        }
    }

    private CType TypeOf(VariableDie variable) => types.TypeAt(variable.Type);

    private int SizeOf(CType type) => type.Resolved is FunctionType ? unit.Header.AddressSize : (int)Math.Clamp(type.Size, 0, int.MaxValue);

    private byte[]? ConstantOf(VariableDie variable, CType type)
    {
        var size = SizeOf(type);
        return variable is { HasLocation: false, Constant: { } bytes } && size > 0 && size <= bytes.Length ? bytes[..size] : null;
    }
}
