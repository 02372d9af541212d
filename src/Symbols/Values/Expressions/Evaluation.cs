using System.Collections.Immutable;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>The state of one evaluation, and the steps that need nothing but it.</summary>
internal sealed class Evaluation(string source, IExpressionScope scope)
{
    private const int MaximumBytes = 64 << 10;

    public IExpressionScope Scope => scope;

    public BasicTypes Types { get; } = BasicTypes.Of(scope.Types.AddressSize);

    public ValueReader Reader { get; } = new(scope, MaximumBytes);

    /// <summary>The first one counts.</summary>
    public ExpressionOutcome.Failed? Failure { get; set; }

    /// <summary>In sizeof nothing is read: only types matter.</summary>
    public bool TypesOnly { get; set; }

    /// <summary>The CPU whose per-cpu variables are meant; null for the one that stopped.</summary>
    public int? Cpu { get; set; }

    public ExpressionOutcome Trouble() =>
        Failure is { } failure ? failure
        : Reader.HasMissing ? new ExpressionOutcome.Missing(Reader.Missing())
        : new ExpressionOutcome.Failed("it has no value", 0, 0);

    public Place? Register(Syntax.Register node)
    {
        if (Scope.FindRegister(node.Name) is { } value)
        {
            return new Place(value) { Name = "$" + node.Name };
        }

        switch (node.Name)
        {
            case "cpu":
                return Computed(Types.Int, Scope.Cpu);
            case "percpu":
                return PerCpuOffset(Scope.Cpu, node) is { } offset ? Computed(Types.UnsignedLong, (long)offset) : null;
            default:
                return Fail(node, node.Name == "ret" ? "$ret is known only where the function has returned" : $"the register ${node.Name} is not known here");
        }
    }

    public ulong? PerCpuOffset(int cpu, Syntax node)
    {
        if (Scope.PerCpuOffset(cpu) is { } offset)
        {
            return offset;
        }

        // mm/percpu.c: unsigned long __per_cpu_offset[NR_CPUS]; without it the kernel has one CPU, and its variables lie where they were linked.
        if (Scope.Types.FindVariable("__per_cpu_offset") is not { } offsets)
        {
            return cpu == 0 ? 0 : FailNumber<ulong>(node, $"there is no CPU {cpu}");
        }

        // CPUs that the machine does not have point to the template.
        var missing = Reader.MissingCount;
        var count = NumberOfCpus() ?? (offsets.Type.Resolved is ArrayType { Count: { } declared } ? declared : int.MaxValue);
        if (cpu < 0 || cpu >= count)
        {
            return FailNumber<ulong>(node, $"there is no CPU {cpu}");
        }

        var value = new TypedValue { Type = Types.UnsignedLong, Address = Reader.Truncate(offsets.Address + ((ulong)cpu * (ulong)Types.AddressSize)) };
        return TypesOnly ? 0 : Reader.Load(value, out var loaded) switch
        {
            ReadState.Ok when Reader.MissingCount == missing => (ulong)loaded.Number!.Value,
            ReadState.Ok or ReadState.Missing => null,
            _ => FailNumber<ulong>(node, $"the per-cpu offset of CPU {cpu} cannot be read"),
        };
    }

    /// <summary>nr_cpu_ids (kernel/smp.c); null where the kernel has no such variable, or it was not fetched (then noted).</summary>
    private long? NumberOfCpus() =>
        !TypesOnly && scope.Types.FindVariable("nr_cpu_ids") is { Type.Resolved: IntegerType } variable
            ? Reader.Number(new TypedValue { Type = variable.Type, Address = variable.Address })
            : null;

    /// <summary>What <paramref name="pointer"/> points to; reading it is left to whoever needs the bytes.</summary>
    public Place? Dereference(Place pointer, Syntax node, Syntax whole)
    {
        if (pointer.Value.Type.Resolved is FunctionType)
        {
            return pointer;
        }

        if (Number(pointer, node) is not { } address)
        {
            return null;
        }

        if (address.Type.Resolved is not PointerType { Target: var target })
        {
            return Fail(whole, $"{Text(node)} is no pointer but {Article(address.Type)}: cast it, as in *(unsigned long *){Text(node)}");
        }

        return target.Resolved is VoidType && !TypesOnly
            ? Fail(whole, $"{Text(node)} is {Article(address.Type)}, which may point to anything: cast it, as in *(unsigned long *){Text(node)}")
            : At(target, address.Bits, node);
    }

    /// <summary>What lies at an address that the pointer <paramref name="pointer"/> gave.</summary>
    public Place At(CType target, long address, Syntax pointer)
    {
        var nowhere = address == 0 && !TypesOnly ? $"{Text(pointer)} is NULL"
            : ErrorNumbers.TextOf(address, Types.AddressSize) is { } error ? $"{Text(pointer)} is the error {error}"
            : null;
        return new Place(
            new TypedValue { Type = target, Address = Reader.Truncate((ulong)address), Provenance = Provenance.Memory }, nowhere, nowhere is null ? null : pointer);
    }

    public Place? AddressOf(Place operand, Syntax.Unary node)
    {
        if (operand.Value.BitSize != 0)
        {
            return Fail(node, $"{Text(node.Operand)} is a bit field and has no address");
        }

        return operand.Value.Address is { } address
            ? Computed(Types.PointerTo(operand.Value.Type), (long)address)
            : Fail(node, $"{Text(node.Operand)} is {(operand.Value.Provenance == Provenance.Register ? "in a register" : "no variable in memory")} and has no address");
    }

    public Place? SizeOf(Syntax node, CType type)
    {
        var complete = Reader.StructureOf(type) ?? type.Resolved;

        // gcc and gdb: void and functions have size 1.
        return complete is StructType { IsIncomplete: true }
            ? Fail(node, $"{complete} is only declared: its size is not known")
            : Computed(Types.SizeType, complete is VoidType or FunctionType ? 1 : complete.Size);
    }

    /// <summary>offsetof, in bytes.</summary>
    public long? Offset(CType type, System.Collections.Immutable.ImmutableArray<Designator> path)
    {
        var value = new TypedValue { Type = type, Address = 0 };
        foreach (var step in path)
        {
            var node = new Syntax.Identifier(step.Start, step.End, step.Name ?? "", false);
            if (step.Name is null)
            {
                if (value.Type.Resolved is not ArrayType { Element: var element })
                {
                    return FailNumber<long>(node, $"{Article(value.Type)} has no elements");
                }

                value = new TypedValue { Type = element, Address = value.Address + (ulong)(step.Index * element.Size) };
                continue;
            }

            if (Reader.StructureOf(value.Type) is not { } structure)
            {
                return FailNumber<long>(node, $"{Article(value.Type)} has no members");
            }

            if (ValueReader.FindMember(structure, step.Name) is not { } member)
            {
                return FailNumber<long>(node, $"{structure} has no member {step.Name}{NearMembers.Suggestion(NearMembers.Of(structure, step.Name, 3))}");
            }

            if (member.IsBitField)
            {
                return FailNumber<long>(node, $"{step.Name} is a bit field and has no offset in bytes");
            }

            value = Reader.MemberOf(value, member);
        }

        return (long)value.Address!.Value;
    }

    /// <summary>A type by name. A variable's name is no type.</summary>
    public CType? TypeOf(TypeName name)
    {
        var (type, failure) = TypeNames.Find(scope, name.Text);
        return type ?? Fail<CType>(name.Start, name.End, failure!);
    }

    /// <summary>The value as a number or pointer; arrays and functions become pointers (6.3.2.1).</summary>
    public Scalar? Number(Place place, Syntax node)
    {
        var value = place.Value;
        switch (value.Type.Resolved)
        {
            case ArrayType { Element: var element }:
                return value.Address is { } start ? new Scalar(Types.PointerTo(element), (long)start)
                    : TypesOnly ? new Scalar(Types.PointerTo(element), 0)
                    : FailNumber<Scalar>(node, $"{Text(node)} is not in memory and has no address");
            case FunctionType when value.Address is { } entry:
                return new Scalar(Types.PointerTo(value.Type), (long)entry);
            case VoidType when value.Address is not null && place.Nowhere is null:
                return FailNumber<Scalar>(node, $"the type of {Text(node)} is not known: cast it, as in (unsigned long){Text(node)}");
            case FloatType:
                return FailNumber<Scalar>(node, $"{Text(node)} is {Article(value.Type)}: there is no floating-point arithmetic here");
            case IntegerType or EnumType or PointerType when value.Type.Size <= 8:
                if (TypesOnly && value.Bytes.IsEmpty)
                {
                    return new Scalar(value.Type, 0, value.BitSize);
                }

                return Loaded(place, node) is not { } loaded ? null
                    : loaded.Number is { } number ? new Scalar(loaded.Type, number, loaded.BitSize)
                    : FailNumber<Scalar>(node, $"{Text(node)} has no value");
            default:
                return FailNumber<Scalar>(node, $"{Text(node)} is {Article(value.Type)}, not a number");
        }
    }

    /// <summary>The value with its bytes; structures, arrays, functions and what has no type stay where they are.</summary>
    public TypedValue? Loaded(Place place, Syntax node)
    {
        var value = place.Value;
        if (place.Nowhere is { } nowhere)
        {
            return Fail<TypedValue>(place.NowhereAt!, nowhere);
        }

        if (value.Type.Resolved is not (IntegerType or EnumType or PointerType or FloatType))
        {
            return value.Address is not null || !value.Bytes.IsEmpty || value.Type.Resolved is VoidType ? value : Fail<TypedValue>(node, $"{Text(node)} has no value");
        }

        return Reader.Load(value, out var loaded) switch
        {
            ReadState.Ok => loaded,
            ReadState.Missing => null,
            ReadState.TooMuch => Fail<TypedValue>(node, $"more than {MaximumBytes >> 10} KiB would have to be read"),
            ReadState.Unreadable => Fail<TypedValue>(node, FormattableString.Invariant($"{Text(node)} cannot be read at 0x{value.Address:x}")),
            _ => Fail<TypedValue>(node, $"{Text(node)} is not known"),
        };
    }

    public static Place Computed(CType type, long bits) => new(TypedValue.OfNumber(type, (ulong)Arithmetic.Convert(bits, type)));

    public static bool IsNumber(CType type) => type.Resolved is IntegerType or EnumType;

    /// <summary>The words of the expression itself.</summary>
    public string Text(Syntax node)
    {
        const int MaximumLength = 80;
        var text = source[node.Start..node.End];
        if (text.Length > MaximumLength)
        {
            text = text[..(MaximumLength - 1)] + "…";
        }

        while (text is ['(', .. var inner, ')'] && IsBalanced(inner))
        {
            text = inner;
        }

        return text;
    }

    /// <summary>The parentheses around it belong together, unlike those of (a) + (b).</summary>
    private static bool IsBalanced(string inner)
    {
        var open = 0;
        foreach (var c in inner)
        {
            open += c switch { '(' => 1, ')' => -1, _ => 0 };
            if (open < 0)
            {
                return false;
            }
        }

        return open == 0;
    }

    /// <summary>A type in a sentence: <c>an int</c>, <c>a struct irq_desc</c>.</summary>
    public static string Article(CType type)
    {
        var text = type.ToString();
        return text.Length > 0 && "aeiou".Contains(char.ToLowerInvariant(text[0]), StringComparison.Ordinal) && !text.StartsWith("union", StringComparison.Ordinal) ? "an " + text : "a " + text;
    }

    public Place? Fail(Syntax node, string message) => Fail<Place>(node.Start, node.End, message);

    public T? Fail<T>(Syntax node, string message)
        where T : class =>
        Fail<T>(node.Start, node.End, message);

    public T? FailNumber<T>(Syntax node, string message)
        where T : struct
    {
        Fail<object>(node.Start, node.End, message);
        return null;
    }

    private T? Fail<T>(int start, int end, string message)
        where T : class
    {
        Failure ??= new ExpressionOutcome.Failed(message, start, end - start);
        return null;
    }
}
