// What an expression means at a function's entry, as nodes: the same walk as Symbols/Values/Expressions/Evaluator.cs makes over values, rule for rule, with what is not known before the hit left to the hit. Where the
// evaluator fails at a stop for what the guest holds (NULL on the way, a division by zero), the nodes say so too, and the condition cannot be asked then; where it fails for what the text says, or where only a
// stop can answer, compiling ends with the reason.
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using Expressions = KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>Walks the tree of one condition. Every method throws <see cref="UncompilableException"/>.</summary>
internal sealed class ConditionLowering
{
    private readonly EntryScope _scope;
    private readonly Evaluation _state;
    private readonly BasicTypes _types;
    private readonly NameLowering _names;
    private readonly OperatorLowering _operators;

    public ConditionLowering(string source, EntryScope scope)
    {
        (_scope, _state) = (scope, new Evaluation(source, scope) { TypesOnly = true });
        _types = _state.Types;
        _names = new NameLowering(scope, _types);
        _operators = new OperatorLowering(_types, _state);
    }

    private int WordBits => 8 * _types.AddressSize;

    /// <summary>The condition's truth: not 0.</summary>
    public ConditionNode Condition(Syntax root) => ValueOf(root).Node;

    private Operand Evaluate(Syntax node)
    {
        switch (node)
        {
            case Syntax.Number number:
                return Literal(number);
            case Syntax.Character character:
                return Constant(_types.Char, (sbyte)character.Value);
            case Syntax.Identifier identifier:
                return _names.Find(identifier);
            case Syntax.Register register:
                return _names.Register(register.Name);
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
                return SizeOf(node, TypeOf(size.Type));
            case Syntax.SizeOf { Operand: Syntax.Identifier { IsScoped: false } name } when NameLookup.IsOnlyType(_scope, name.Name):
                return SizeOf(node, TypeOf(new TypeName(name.Name, name.Start, name.End)));
            case Syntax.SizeOf size:
                return SizeOf(node, Evaluate(size.Operand).Type);
            case Syntax.OffsetOf offset:
                return Constant(_types.SizeType, Known(_state.Offset(TypeOf(offset.Type), offset.Path)));
            case Syntax.ContainerOf container:
                return ContainerOf(container);
            case Syntax.MacroCall macro:
                return Macro(macro);
            case Syntax.Text:
                throw new UncompilableException("a text is compared with == and !=, and with nothing else");
            default:
                throw new InvalidOperationException(node.GetType().Name);
        }
    }

    private Operand Constant(CType type, long bits)
    {
        _operators.CheckSize(type);
        return Operand.Computed(type, new ConditionNode.Constant(Arithmetic.Convert(bits, type)));
    }

    /// <summary>ISO C 6.4.4.1, by the evaluator itself: a literal needs nothing of the guest.</summary>
    private Operand Literal(Syntax.Number number) =>
        new Evaluator("", _scope).Evaluate(number) is { Value: { Number: { } bits } value } ? Constant(value.Type, bits) : throw new InvalidOperationException("a number without a value");

    private Operand Unary(Syntax.Unary node)
    {
        switch (node.Operator)
        {
            case UnaryOperator.Dereference:
                return Dereference(Evaluate(node.Operand), node.Operand);
            case UnaryOperator.AddressOf:
                var operand = Evaluate(node.Operand);
                return operand is { BitSize: 0, Address: { } address }
                    ? Operand.Computed(_types.PointerTo(operand.Type), address)
                    : throw new UncompilableException($"{_state.Text(node.Operand)} has no address");
            case UnaryOperator.Not:
                return Operand.Computed(_types.Int, new ConditionNode.Unary(ConditionOperation.IsZero, ValueOf(node.Operand).Node));
        }

        var value = ValueOf(node.Operand);
        if (value.IsPointer)
        {
            return node.Operator == UnaryOperator.Plus ? Operand.Computed(value.Type, value.Node) : throw new UncompilableException($"{_state.Text(node.Operand)} is a pointer: cast it to unsigned long first");
        }

        var type = _operators.Promote(value);
        return node.Operator == UnaryOperator.Plus ? Operand.Computed(type, value.Node)
            : value.Constant is { } bits ? Constant(type, node.Operator == UnaryOperator.Minus ? unchecked(-bits) : ~bits)
            : Operand.Computed(type, _operators.Convert(new ConditionNode.Unary(node.Operator == UnaryOperator.Minus ? ConditionOperation.Negate : ConditionOperation.Complement, value.Node), type));
    }

    private Operand Binary(Syntax.Binary node)
    {
        switch (node.Operator)
        {
            case BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr:
                return Operand.Computed(_types.Int, new ConditionNode.Logical(node.Operator == BinaryOperator.LogicalOr, ValueOf(node.Left).Node, ValueOf(node.Right).Node));
            case BinaryOperator.Slice:
                throw new UncompilableException("@ makes an array, which is no number");
            case BinaryOperator.Matches:
                throw new UncompilableException("text is matched with a pattern");
            case BinaryOperator.Equal or BinaryOperator.NotEqual when node.Left is Syntax.Text || node.Right is Syntax.Text:
                return CompareText(node);
        }

        return _operators.Combine(node, ValueOf(node.Left), ValueOf(node.Right));
    }

    private Operand CompareText(Syntax.Binary node)
    {
        var (literal, other) = node.Right is Syntax.Text right ? (right, node.Left) : ((Syntax.Text)node.Left, node.Right);
        var operand = Evaluate(other);
        var wanted = string.Concat(literal.Bytes.Select(b => (char)b)) + '\0';
        if (literal.Bytes.Contains((byte)0) || wanted.Length > ConditionStep.MaximumText)
        {
            throw new UncompilableException($"it compares text of more than {ConditionStep.MaximumText - 1} characters, or with NUL in it");
        }

        ConditionNode address;
        var isPointer = false;
        switch (operand.Type.Resolved)
        {
            case ArrayType { Element: var element } array when IsCharacter(element) && operand.Reading is { } start:
                // An array that is filled to its end has no NUL.
                address = start;
                wanted = array.Count is { } count && count < wanted.Length ? wanted[..(int)count] : wanted;
                if (wanted.Length < literal.Bytes.Length || wanted.Length == 0)
                {
                    throw new UncompilableException($"{_state.Text(other)} has room for {wanted.Length} characters only");
                }

                break;
            case PointerType { Target: var target } when IsCharacter(target):
                (address, isPointer) = (ValueOf(operand, other).Node, true);
                break;
            default:
                throw new UncompilableException($"{_state.Text(other)} is {Evaluation.Article(operand.Type)}: only char arrays and char pointers are compared with text");
        }

        ConditionNode equal = new ConditionNode.Text(address, wanted, isPointer);
        return Operand.Computed(_types.Int, node.Operator == BinaryOperator.Equal ? equal : new ConditionNode.Unary(ConditionOperation.IsZero, equal));
    }

    private Operand Conditional(Syntax.Conditional node)
    {
        var condition = ValueOf(node.Condition);
        var (then, otherwise) = (ValueOf(node.Then), ValueOf(node.Otherwise));
        if (then.IsPointer || otherwise.IsPointer)
        {
            return then.Type.ToString() == otherwise.Type.ToString()
                ? Operand.Computed(then.Type, new ConditionNode.Choice(condition.Node, then.Node, otherwise.Node))
                : throw new UncompilableException("the type of a choice is known at the hit only");
        }

        var type = Arithmetic.Common(_operators.Promote(then), _operators.Promote(otherwise), _types);
        return Operand.Computed(type, new ConditionNode.Choice(condition.Node, _operators.Convert(then.Node, type), _operators.Convert(otherwise.Node, type)));
    }

    private Operand Dereference(Operand pointer, Syntax node)
    {
        if (pointer.Type.Resolved is FunctionType)
        {
            return pointer;
        }

        var address = ValueOf(pointer, node);
        return address.Type.Resolved switch
        {
            PointerType { Target: var target } when target.Resolved is not VoidType => At(target, address.Node, address.Node),
            PointerType => throw new UncompilableException($"{_state.Text(node)} may point to anything: cast it, as in *(unsigned long *){_state.Text(node)}"),
            _ => throw new UncompilableException($"{_state.Text(node)} is no pointer but {Evaluation.Article(address.Type)}"),
        };
    }

    /// <summary>What lies where a pointer leads.</summary>
    /// <param name="reading">The address, with what is required of the pointers on the way so far.</param>
    private static Operand At(CType target, ConditionNode address, ConditionNode reading) => new(target) { Address = address, Reading = new ConditionNode.Required(reading, IsPointer: true) };

    private Operand Member(Syntax.MemberAccess node)
    {
        // Both "." and "->" work on both, as in gdb.
        var owner = Evaluate(node.Operand);
        if (owner.Type.Resolved is PointerType or ArrayType)
        {
            owner = Dereference(owner, node.Operand);
        }

        if (_state.Reader.StructureOf(owner.Type) is not { } structure)
        {
            throw new UncompilableException($"{_state.Text(node.Operand)} is {Evaluation.Article(owner.Type)}, and has no members");
        }

        if (ValueReader.FindMember(structure, node.Name) is not { } member)
        {
            throw new UncompilableException(structure.IsIncomplete ? $"{structure} is only declared: its members are not known"
                : $"{structure} has no member {node.Name}{NearMembers.Suggestion(NearMembers.Of(structure, node.Name, 3))}");
        }

        if (owner.Address is null)
        {
            throw new UncompilableException($"{_state.Text(node.Operand)} is a structure in registers");
        }

        return owner.Part(member.Type, new ConditionNode.Constant(member.Offset)) with
        {
            BitOffset = member.IsBitField ? (int)(member.BitOffset & 7) : 0, BitSize = Math.Clamp(member.BitSize, 0, 64),
        };
    }

    private Operand Element(Syntax.Index node)
    {
        var array = Evaluate(node.Array);
        var index = ValueOf(node.Subscript);
        if (index.IsPointer)
        {
            throw new UncompilableException($"{_state.Text(node.Subscript)} is a pointer, not an index");
        }

        if (array.Type.Resolved is ArrayType { Element: var element })
        {
            return array.Address is null ? throw new UncompilableException($"{_state.Text(node.Array)} is not in memory")
                : array.Part(element, ConditionNode.Scale(index.Node, element.Size));
        }

        var pointer = ValueOf(array, node.Array);
        if (pointer.Type.Resolved is not PointerType { Target: var target })
        {
            throw new UncompilableException($"{_state.Text(node.Array)} is {Evaluation.Article(pointer.Type)}, neither array nor pointer");
        }

        var offset = ConditionNode.Scale(index.Node, PointerArithmetic.Stride(target));
        var isFirst = offset is ConditionNode.Constant { Bits: 0 };
        return At(target, ConditionNode.Add(pointer.Node, offset), isFirst ? pointer.Node : ConditionNode.Add(new ConditionNode.Required(pointer.Node, IsPointer: false), offset));
    }

    private Operand Cast(Syntax.Cast node)
    {
        var type = TypeOf(node.Type);
        var operand = Evaluate(node.Operand);
        var target = type.Resolved;
        if (operand is { Type.Resolved: VoidType or StructType, Address: not null } && target is StructType or ArrayType)
        {
            return operand with { Type = type };
        }

        // A symbol without a type takes the type that it is cast to, as in gdb.
        if (operand is { Type.Resolved: VoidType, Address: not null })
        {
            operand = operand with { Type = type };
        }

        return target is IntegerType or EnumType or PointerType
            ? Operand.Computed(type, _operators.Convert(ValueOf(operand, node.Operand).Node, type))
            : throw new UncompilableException($"values cannot be cast to {type}");
    }

    private Operand SizeOf(Syntax node, CType type) =>
        _state.SizeOf(node, type) is { Value.Number: { } size } ? Constant(_types.SizeType, size) : throw Failed();

    private Operand ContainerOf(Syntax.ContainerOf node)
    {
        var pointer = ValueOf(node.Pointer);
        var type = TypeOf(node.Type);
        return pointer.IsPointer
            ? Operand.Computed(_types.PointerTo(type), ConditionNode.Add(pointer.Node, new ConditionNode.Constant(-Known(_state.Offset(type, node.Path)))))
            : throw new UncompilableException($"{_state.Text(node.Pointer)} is {Evaluation.Article(pointer.Type)}, not a pointer");
    }

    private Operand Macro(Syntax.MacroCall node)
    {
        const long firstError = -4095;
        switch (node.Macro)
        {
            case Expressions.Macro.ThisCpu:
                // A per-cpu variable's plain name is this CPU's.
                return Evaluate(node.First);
            case Expressions.Macro.ThisCpuPointer when node.First is Syntax.Unary { Operator: UnaryOperator.AddressOf } address:
                return Evaluate(address);
            case Expressions.Macro.ThisCpuPointer:
                var place = ValueOf(node.First);
                return place.IsPointer ? Operand.Computed(place.Type, ConditionNode.Add(place.Node, _names.PerCpuOffset())) : throw new UncompilableException($"{_state.Text(node.First)} is not a pointer");
            case Expressions.Macro.PerCpu or Expressions.Macro.PerCpuPointer:
                throw new UncompilableException("it asks for a variable of another CPU");
            case Expressions.Macro.ArraySize:
                return Evaluate(node.First).Type.Resolved is ArrayType { Count: { } count } ? Constant(_types.SizeType, count)
                    : throw new UncompilableException($"{_state.Text(node.First)} is no array with a size");
        }

        var value = ValueOf(node.First);
        var isError = new ConditionNode.Binary(ConditionOperation.GreaterOrEqual, value.Node, new ConditionNode.Constant(firstError));
        return node.Macro switch
        {
            Expressions.Macro.IsError => Operand.Computed(_types.Int, isError),
            Expressions.Macro.IsErrorOrNull => Operand.Computed(_types.Int, new ConditionNode.Logical(IsOr: true, new ConditionNode.Unary(ConditionOperation.IsZero, value.Node), isError)),
            Expressions.Macro.PointerError => Operand.Computed(_types.Long, value.Node),
            Expressions.Macro.BigEndian16 => Operand.Computed(_types.UnsignedInt, new ConditionNode.Binary(
                ConditionOperation.ShiftRight, new ConditionNode.Unary(ConditionOperation.SwapBytes32, ConditionNode.Extend(value.Node, 16, isSigned: false, WordBits)), new ConditionNode.Constant(16))),
            _ => Operand.Computed(_types.UnsignedInt, new ConditionNode.Unary(ConditionOperation.SwapBytes32, value.Node)),
        };
    }

    private Number ValueOf(Syntax node) => ValueOf(Evaluate(node), node);

    /// <summary>The operand as a number or pointer; arrays and functions become pointers (6.3.2.1).</summary>
    private Number ValueOf(Operand operand, Syntax node)
    {
        switch (operand.Type.Resolved)
        {
            case ArrayType { Element: var element }:
                return new Number(_types.PointerTo(element), operand.Address ?? throw new UncompilableException($"{_state.Text(node)} is not in memory and has no address"));
            case FunctionType when operand.Address is { } entry:
                return new Number(_types.PointerTo(operand.Type), entry);
            case FloatType:
                throw new UncompilableException($"{_state.Text(node)} is {Evaluation.Article(operand.Type)}: there is no floating-point arithmetic here");
            case IntegerType or EnumType or PointerType when operand.Value is { } value:
                return new Number(operand.Type, value, operand.BitSize);
            case IntegerType or EnumType or PointerType when operand.Reading is { } address:
                _operators.CheckSize(operand.Type);
                var bytes = operand.BitSize != 0 ? (operand.BitOffset + operand.BitSize + 7) / 8 : (int)operand.Type.Size;
                return bytes is > 0 and <= 8 && bytes <= _types.AddressSize
                    ? new Number(operand.Type, new ConditionNode.Load(address, bytes, Arithmetic.IsSigned(operand.Type), operand.BitOffset, operand.BitSize), operand.BitSize)
                    : throw new UncompilableException($"{_state.Text(node)} is wider than a register");
            case VoidType when operand.Address is not null:
                throw new UncompilableException($"the type of {_state.Text(node)} is not known: cast it, as in (unsigned long){_state.Text(node)}");
            default:
                throw new UncompilableException($"{_state.Text(node)} is {Evaluation.Article(operand.Type)}, not a number");
        }
    }

    private CType TypeOf(TypeName name) => _state.TypeOf(name) ?? throw Failed();

    private long Known(long? offset) => offset ?? throw Failed();

    private UncompilableException Failed() => new(_state.Failure?.Message ?? "it has no value");

    private static bool IsCharacter(CType type) => type.Resolved is IntegerType { Size: 1, Encoding: not IntegerEncoding.Boolean };
}
