// What an expression means at one stop: ISO C 6.5 over the guest's memory, and gdb's tolerance where it helps ("." through a pointer, "->" on a structure, arrays that are
// compared with text). Different from gdb: bit fields are promoted as C says; a NULL on the way is named; nothing is ever written or called.
// No exceptions on the way: a condition is evaluated at every hit. Whoever gets null back stops, because _state.Failure or the reader's misses say why.
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Walks the tree of one evaluation.</summary>
internal sealed class Evaluator
{
    private const int MaximumSteps = 10_000;

    private readonly Evaluation _state;
    private readonly BasicTypes _types;
    private readonly TextComparison _texts;
    private readonly MacroCalls _macros;
    private int _steps;

    public Evaluator(string source, IExpressionScope scope)
    {
        _state = new Evaluation(source, scope);
        _types = _state.Types;
        _texts = new TextComparison(_state.Reader);
        _macros = new MacroCalls(this, _state);
    }

    public ExpressionOutcome Run(Syntax root) =>
        Evaluate(root) is { } place && _state.Loaded(place, root) is { } value
            ? new ExpressionOutcome.Value(value) { Named = new NamedValue(place.Name, value, place.Owner) }
            : _state.Trouble();

    public ExpressionOutcome RunCondition(Syntax root) =>
        Truth(root) is { } truth ? new ExpressionOutcome.Value(TypedValue.OfNumber(_types.Int, truth ? 1UL : 0)) : _state.Trouble();

    public Place? Evaluate(Syntax node)
    {
        if (++_steps > MaximumSteps)
        {
            return _state.Fail(node, "the expression takes too many steps");
        }

        switch (node)
        {
            case Syntax.Number number:
                return Literal(number);
            case Syntax.Character character:
                return Evaluation.Computed(_types.Char, (sbyte)character.Value);
            case Syntax.Text text:
                return new Place(new TypedValue { Type = new ArrayType(_types.Char, text.Bytes.Length + 1), Bytes = (byte[])[.. text.Bytes, 0] });
            case Syntax.Identifier identifier:
                return Name(identifier);
            case Syntax.Register register:
                return _state.Register(register);
            case Syntax.Unary unary:
                return Unary(unary);
            case Syntax.Binary binary:
                return Binary(binary);
            case Syntax.Conditional conditional:
                return Conditional(conditional);
            case Syntax.MemberAccess member:
                return Member(member);
            case Syntax.Index index:
                return Element(index);
            case Syntax.Cast cast:
                return Cast(cast);
            case Syntax.SizeOfType size:
                return _state.TypeOf(size.Type) is { } type ? _state.SizeOf(node, type) : null;
            case Syntax.SizeOf size:
                return SizeOf(size);
            case Syntax.OffsetOf offset:
                return _state.TypeOf(offset.Type) is { } owner && _state.Offset(owner, offset.Path) is { } bytes ? Evaluation.Computed(_types.SizeType, bytes) : null;
            case Syntax.ContainerOf container:
                return ContainerOf(container);
            case Syntax.MacroCall macro:
                return _macros.Call(macro);
            default:
                throw new InvalidOperationException(node.GetType().Name);
        }
    }

    /// <summary>ISO C 6.4.4.1, the table of candidates.</summary>
    private Place Literal(Syntax.Number number)
    {
        var isUnsigned = number.Suffix.Contains('u', StringComparison.Ordinal);
        var longs = number.Suffix.Count(c => c == 'l');
        IntegerType[] candidates = [_types.Int, _types.UnsignedInt, _types.Long, _types.UnsignedLong, _types.LongLong, _types.UnsignedLongLong];
        foreach (var type in candidates[(longs * 2)..])
        {
            var fits = type.IsSigned
                ? !isUnsigned && number.Value <= (ulong)long.MaxValue >> (64 - ((int)type.Size * 8))
                : (isUnsigned || !number.IsDecimal) && number.Value <= ulong.MaxValue >> (64 - ((int)type.Size * 8));
            if (fits)
            {
                return Evaluation.Computed(type, (long)number.Value);
            }
        }

        return Evaluation.Computed(_types.UnsignedLongLong, (long)number.Value);
    }

    private Place? Name(Syntax.Identifier node)
    {
        var (value, isPerCpu, failure) = NameLookup.Find(_state.Scope, node.Name, node.IsScoped, _types);
        if (value is null)
        {
            return _state.TypesOnly && _state.Scope.FindLocal(node.Name) is { } local ? new Place(new TypedValue { Type = local.Type }) : _state.Fail(node, failure!);
        }

        if (!isPerCpu || value.Address is not { } template)
        {
            return new Place(value) { Name = node.Name };
        }

        // The plain name of a per-cpu variable is the stopped CPU's: its template holds nothing that anybody wants to see.
        return _state.PerCpuOffset(_state.Cpu ?? _state.Scope.Cpu, node) is { } offset ? new Place(value with { Address = _state.Reader.Truncate(template + offset) }) { Name = node.Name } : null;
    }

    private Place? Unary(Syntax.Unary node)
    {
        switch (node.Operator)
        {
            case UnaryOperator.Dereference:
                return Evaluate(node.Operand) is { } pointer ? _state.Dereference(pointer, node.Operand, node) : null;
            case UnaryOperator.AddressOf:
                return Evaluate(node.Operand) is { } operand ? _state.AddressOf(operand, node) : null;
            case UnaryOperator.Not:
                return Truth(node.Operand) is { } truth ? Evaluation.Computed(_types.Int, truth ? 0 : 1) : null;
        }

        if (Number(node.Operand) is not { } value)
        {
            return null;
        }

        if (value.IsPointer)
        {
            return node.Operator == UnaryOperator.Plus ? Evaluation.Computed(value.Type, value.Bits) : _state.Fail(node, $"{_state.Text(node.Operand)} is a pointer: cast it to unsigned long first");
        }

        var type = Arithmetic.Promote(value, _types);
        return Evaluation.Computed(type, node.Operator switch { UnaryOperator.Minus => -value.Bits, UnaryOperator.Complement => ~value.Bits, _ => value.Bits });
    }

    private Place? Binary(Syntax.Binary node)
    {
        switch (node.Operator)
        {
            case BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr:
                var isOr = node.Operator == BinaryOperator.LogicalOr;
                return Truth(node.Left) is not { } first ? null
                    : first == isOr ? Evaluation.Computed(_types.Int, isOr ? 1 : 0)
                    : Truth(node.Right) is { } second ? Evaluation.Computed(_types.Int, second ? 1 : 0)
                    : null;
            case BinaryOperator.Slice:
                return Slice(node);
            case BinaryOperator.Matches:
                return CompareText(node);
            case BinaryOperator.Equal or BinaryOperator.NotEqual when node.Left is Syntax.Text || node.Right is Syntax.Text:
                return CompareText(node);
        }

        // Both sides, even if the first one misses memory: what the second one misses comes along with it.
        var left = Number(node.Left);
        if (left is null && _state.Failure is not null)
        {
            return null;
        }

        return Number(node.Right) is { } right && left is { } leftValue ? Combine(node, leftValue, right) : null;
    }

    private Place? Combine(Syntax.Binary node, Scalar left, Scalar right)
    {
        if (left.IsPointer || right.IsPointer)
        {
            return new PointerArithmetic(_types).Combine(node.Operator, left, right, out var refusal) is { } result
                ? Evaluation.Computed(result.Type, result.Bits)
                : _state.Fail(node, refusal!);
        }

        var (leftType, rightType) = (Arithmetic.Promote(left, _types), Arithmetic.Promote(right, _types));
        if (node.Operator is BinaryOperator.ShiftLeft or BinaryOperator.ShiftRight)
        {
            var bits = leftType.Size * 8;
            return right.Bits < 0 || right.Bits >= bits
                ? _state.Fail(node, $"a shift by {right.Bits} of {bits} bits")
                : Evaluation.Computed(leftType, node.Operator == BinaryOperator.ShiftLeft ? left.Bits << (int)right.Bits
                    : Arithmetic.IsSigned(leftType) ? left.Bits >> (int)right.Bits
                    : (long)((ulong)left.Bits >> (int)right.Bits));
        }

        var type = Arithmetic.Common(leftType, rightType, _types);
        var (a, b) = (Arithmetic.Convert(left.Bits, type), Arithmetic.Convert(right.Bits, type));
        if (node.Operator is >= BinaryOperator.Less and <= BinaryOperator.NotEqual)
        {
            return Evaluation.Computed(_types.Int, Arithmetic.Compare(node.Operator, a, b, Arithmetic.IsSigned(type)) ? 1 : 0);
        }

        if (_state.TypesOnly && b == 0)
        {
            return Evaluation.Computed(type, 0);
        }

        return Arithmetic.Compute(node.Operator, a, b, type, out var message) is { } computed ? Evaluation.Computed(type, computed) : _state.Fail(node, $"{message}: {_state.Text(node.Right)} is 0");
    }

    private Place? CompareText(Syntax.Binary node)
    {
        var (textNode, other) = node.Right is Syntax.Text ? ((Syntax.Text)node.Right, node.Left) : (node.Left as Syntax.Text, node.Right);
        if (textNode is null || (node.Operator == BinaryOperator.Matches && node.Right is not Syntax.Text))
        {
            return _state.Fail(node, "a pattern in double quotes stands on the right of =~");
        }

        if (Evaluate(other) is not { } place)
        {
            return null;
        }

        if (place.Nowhere is not null)
        {
            return _state.Fail(place.NowhereAt!, place.Nowhere);
        }

        var isPattern = node.Operator == BinaryOperator.Matches;
        return _state.TypesOnly ? Evaluation.Computed(_types.Int, 0) : _texts.Compare(place.Value, textNode.Bytes, isPattern, out var refusal) is { } equal
            ? Evaluation.Computed(_types.Int, equal == (node.Operator != BinaryOperator.NotEqual) ? 1 : 0)
            : refusal is null ? null : _state.Fail(other, $"{_state.Text(other)} {refusal}");
    }

    /// <summary>gdb's <c>first@count</c>: an array that begins with the element.</summary>
    private Place? Slice(Syntax.Binary node)
    {
        const int MaximumCount = 1 << 16;
        if (Evaluate(node.Left) is not { } first || Number(node.Right) is not { } count)
        {
            return null;
        }

        if (first.Value.Address is null || first.Value.BitSize != 0)
        {
            return _state.Fail(node, $"{_state.Text(node.Left)} is not in memory: @ takes the first element, as in *pointer@3");
        }

        return count.IsPointer || count.Bits is <= 0 or > MaximumCount
            ? _state.Fail(node.Right, $"an array has 1 to {MaximumCount} elements")
            : first with { Value = first.Value with { Type = new ArrayType(first.Value.Type, count.Bits), Bytes = default } };
    }

    private Place? Conditional(Syntax.Conditional node)
    {
        if (Truth(node.Condition) is not { } truth || Evaluate(truth ? node.Then : node.Otherwise) is not { } place)
        {
            return null;
        }

        // The other branch matters for its type alone.
        var other = WithoutReading(truth ? node.Otherwise : node.Then, keepFailure: false);
        if (other is null || !Evaluation.IsNumber(other.Value.Type) || !Evaluation.IsNumber(place.Value.Type) || _state.Number(place, node) is not { } value)
        {
            return _state.Failure is null && !_state.Reader.HasMissing ? place : null;
        }

        var otherScalar = new Scalar(other.Value.Type, 0, other.Value.BitSize);
        var type = Arithmetic.Common(Arithmetic.Promote(value, _types), Arithmetic.Promote(otherScalar, _types), _types);
        return Evaluation.Computed(type, Arithmetic.Convert(value.Bits, type));
    }

    private Place? Member(Syntax.MemberAccess node)
    {
        if (Evaluate(node.Operand) is not { } owner)
        {
            return null;
        }

        // Both "." and "->" work on both, as in gdb.
        if (owner.Value.Type.Resolved is PointerType or ArrayType)
        {
            if (_state.Dereference(owner, node.Operand, node) is not { } target)
            {
                return null;
            }

            owner = target;
        }

        if (_state.Reader.StructureOf(owner.Value.Type) is not { } structure)
        {
            return _state.Fail(node.Operand, $"{_state.Text(node.Operand)} is {Evaluation.Article(owner.Value.Type)}, and has no members");
        }

        if (ValueReader.FindMember(structure, node.Name) is not { } member)
        {
            return structure.IsIncomplete
                ? _state.Fail(node.Operand, $"{structure} is only declared: its members are not known")
                : _state.Fail(new Syntax.Identifier(node.NameStart, node.End, node.Name, false), $"{structure} has no member {node.Name}{NearMembers.Suggestion(NearMembers.Of(structure, node.Name, 3))}");
        }

        return owner with { Value = _state.Reader.MemberOf(owner.Value, member), Name = node.Name, Owner = structure.Name.Length > 0 ? structure.Name : owner.Owner };
    }

    private Place? Element(Syntax.Index node)
    {
        if (Evaluate(node.Array) is not { } array || Number(node.Subscript) is not { } index)
        {
            return null;
        }

        if (index.IsPointer)
        {
            return _state.Fail(node.Subscript, $"{_state.Text(node.Subscript)} is a pointer, not an index");
        }

        if (array.Value.Type.Resolved is ArrayType { Element: var element })
        {
            var value = ValueReader.ElementOf(array.Value, element, index.Bits, _types.AddressSize);
            return value.Address is null && value.Bytes.IsEmpty && !_state.TypesOnly
                ? _state.Fail(node.Subscript, $"{_state.Text(node.Array)} is not in memory and has no element {index.Bits}")
                : array with { Value = value };
        }

        if (_state.Number(array, node.Array) is not { } pointer)
        {
            return null;
        }

        return pointer.Type.Resolved is PointerType { Target: var target }
            ? _state.At(target, pointer.Bits == 0 ? 0 : unchecked(pointer.Bits + (index.Bits * PointerArithmetic.Stride(target))), node.Array)
            : _state.Fail(node.Array, $"{_state.Text(node.Array)} is {Evaluation.Article(pointer.Type)}, neither array nor pointer");
    }

    private Place? Cast(Syntax.Cast node)
    {
        if (_state.TypeOf(node.Type) is not { } type || Evaluate(node.Operand) is not { } operand)
        {
            return null;
        }

        var target = type.Resolved;
        if (target is VoidType)
        {
            return new Place(new TypedValue { Type = type });
        }

        // A symbol without a type takes the type that it is cast to, as in gdb.
        if (operand.Value is { Type.Resolved: VoidType, Address: not null } or { Type.Resolved: StructType, Address: not null } && target is StructType or ArrayType)
        {
            return operand with { Value = operand.Value with { Type = type, Bytes = default } };
        }

        if (operand.Value is { Type.Resolved: VoidType, Address: not null })
        {
            operand = operand with { Value = operand.Value with { Type = type, Bytes = default } };
        }

        if (target is not (IntegerType or EnumType or PointerType))
        {
            return _state.Fail(node, $"values cannot be cast to {type}");
        }

        return _state.Number(operand, node.Operand) is { } value ? Evaluation.Computed(type, Arithmetic.Convert(value.Bits, type)) : null;
    }

    private Place? SizeOf(Syntax.SizeOf node)
    {
        // (name) may be a type.
        if (node.Operand is Syntax.Identifier { IsScoped: false } name && NameLookup.IsOnlyType(_state.Scope, name.Name))
        {
            return _state.TypeOf(new TypeName(name.Name, name.Start, name.End)) is { } type ? _state.SizeOf(node, type) : null;
        }

        var operand = WithoutReading(node.Operand, keepFailure: true);
        return operand is null ? null : _state.SizeOf(node, operand.Value.Type);
    }

    private Place? ContainerOf(Syntax.ContainerOf node)
    {
        if (Number(node.Pointer) is not { } pointer || _state.TypeOf(node.Type) is not { } type || _state.Offset(type, node.Path) is not { } offset)
        {
            return null;
        }

        return pointer.IsPointer
            ? Evaluation.Computed(_types.PointerTo(type), pointer.Bits - offset)
            : _state.Fail(node.Pointer, $"{_state.Text(node.Pointer)} is {Evaluation.Article(pointer.Type)}, not a pointer");
    }

    public Scalar? Number(Syntax node) => Evaluate(node) is { } place ? _state.Number(place, node) : null;

    public bool? Truth(Syntax node) => Number(node) is { } value ? value.Bits != 0 : null;

    /// <summary>For the type alone: no memory is read, and unless it matters, no failure counts.</summary>
    public Place? WithoutReading(Syntax node, bool keepFailure)
    {
        var (before, wasTypesOnly) = (_state.Failure, _state.TypesOnly);
        _state.TypesOnly = true;
        var place = Evaluate(node);
        _state.TypesOnly = wasTypesOnly;
        if (!keepFailure)
        {
            _state.Failure = before;
        }

        return place;
    }
}
