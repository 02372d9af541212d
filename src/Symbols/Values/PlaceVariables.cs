using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

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
