// Values as global value numbering has them (Alpern, Wegman, Zadeck 1988; Click 1995): two places that hold the same FlowValue hold the same number, whenever both are looked at
// in one state. A name such as "the result of the instruction at A" means its latest execution. That is sound as long as no older result of it is
// called by the same name, which the flow sees to: at a fixed point a state can only contain names that were given on every way to it.
namespace KTrace.Symbols.Recovery;

/// <summary>What a value starts from.</summary>
internal enum FlowBase : byte
{
    /// <summary>Nothing is known; equal to no other value, not even to itself.</summary>
    Unknown,

    /// <summary>0.</summary>
    Zero,

    /// <summary>0, for numbers that are addresses of the object, at link time.</summary>
    Image,

    /// <summary>The CFA: the stack pointer before the call that entered the function.</summary>
    Cfa,

    /// <summary>What register A held at entry.</summary>
    EntryRegister,

    /// <summary>What stood at CFA+A, B bytes of it, at entry.</summary>
    EntrySlot,

    /// <summary>What the instruction at A left in place B, the last time it ran.</summary>
    Result,

    /// <summary>What place B held when block A was entered, the last time.</summary>
    Join,

    /// <summary>The low bits of another value, without sign. B is its node and addend.</summary>
    ZeroExtended,

    /// <summary>The low bits of another value, with sign.</summary>
    SignExtended,
}

/// <param name="Node">Index in <see cref="FlowValues"/>.</param>
internal readonly record struct FlowValue(int Node, long Addend)
{
    public bool IsUnknown => Node == 0;

    public bool IsConstant => Node == FlowValues.ZeroNode;

    public bool IsCfa => Node == FlowValues.CfaNode;
}

/// <summary>The value names of one function.</summary>
internal sealed class FlowValues
{
    public const int ZeroNode = 1, ImageNode = 2, CfaNode = 3;

    private readonly record struct NodeKey(FlowBase Base, long A, int B, long C);

    private readonly List<NodeKey> _nodes = [];
    private readonly Dictionary<NodeKey, int> _ids = [];
    private readonly bool _isNarrow;

    public FlowValues(bool isNarrow)
    {
        _isNarrow = isNarrow;
        foreach (var fixedBase in (ReadOnlySpan<FlowBase>)[FlowBase.Unknown, FlowBase.Zero, FlowBase.Image, FlowBase.Cfa])
        {
            Node(fixedBase, 0, 0, 0);
        }
    }

    public static FlowValue Unknown => default;

    public static FlowValue Cfa(long offset) => new(CfaNode, offset);

    public int Count => _nodes.Count;

    public FlowBase BaseOf(FlowValue value) => _nodes[value.Node].Base;

    public FlowValue Constant(long value) => new(ZeroNode, Wrap(value));

    public FlowValue Image(ulong address) => new(ImageNode, Wrap((long)address));

    public FlowValue EntryRegister(int register) => new(Node(FlowBase.EntryRegister, register, 0, 0), 0);

    public FlowValue EntrySlot(long offset, int size) => new(Node(FlowBase.EntrySlot, offset, size, 0), 0);

    public FlowValue Result(ulong instruction, int place) => new(Node(FlowBase.Result, (long)instruction, place, 0), 0);

    public FlowValue Join(int block, int place) => new(Node(FlowBase.Join, block, place, 0), 0);

    public FlowValue Add(FlowValue value, long addend) => value.IsUnknown ? value : value with { Addend = Wrap(value.Addend + addend) };

    public (long A, int B) PartsOf(FlowValue value) => (_nodes[value.Node].A, _nodes[value.Node].B);

    /// <summary>The value whose low bits this one is.</summary>
    public bool TryUnwrap(FlowValue value, out FlowValue inner, out int bits)
    {
        var node = _nodes[value.Node];
        (inner, bits) = (new FlowValue(node.B, node.C), (int)node.A);
        return node.Base is FlowBase.ZeroExtended or FlowBase.SignExtended;
    }

    /// <summary>The low <paramref name="bits"/> of a value, extended to a whole word.</summary>
    public FlowValue Extend(FlowValue value, int bits, bool isSigned)
    {
        if (value.IsUnknown || (_isNarrow && bits >= 32) || bits >= 64)
        {
            return value;
        }

        if (value.IsConstant)
        {
            return Constant(isSigned ? value.Addend << (64 - bits) >> (64 - bits) : (long)((ulong)value.Addend << (64 - bits) >> (64 - bits)));
        }

        while (TryUnwrap(value, out var inner, out var innerBits))
        {
            if (innerBits >= bits)
            {
                // Only the low bits count, and those are the same.
                value = Add(inner, value.Addend);
                continue;
            }

            if (value.Addend == 0 && _nodes[value.Node].Base == FlowBase.ZeroExtended)
            {
                // Narrower already, and without sign.
                return value;
            }

            break;
        }

        var low = bits == 64 ? value.Addend : (long)((ulong)value.Addend << (64 - bits) >> (64 - bits));
        return new FlowValue(Node(isSigned ? FlowBase.SignExtended : FlowBase.ZeroExtended, bits, value.Node, low), 0);
    }

    /// <summary>Does the value depend on the CFA, that is: may it be an address on the function's own stack?</summary>
    public bool IsStackAddress(FlowValue value, out long offset)
    {
        while (TryUnwrap(value, out var inner, out _))
        {
            value = inner;
        }

        offset = value.Addend;
        return value.IsCfa;
    }

    /// <summary>Does the value's name, or that of what it is made of, come from this instruction?</summary>
    public bool ComesFrom(FlowValue value, FlowBase from, long a)
    {
        while (TryUnwrap(value, out var inner, out _))
        {
            value = inner;
        }

        var node = _nodes[value.Node];
        return node.Base == from && node.A == a;
    }

    private long Wrap(long value) => _isNarrow ? (int)value : value;

    private int Node(FlowBase from, long a, int b, long c)
    {
        var key = new NodeKey(from, a, b, c);
        if (!_ids.TryGetValue(key, out var id))
        {
            id = _nodes.Count;
            _nodes.Add(key);
            _ids.Add(key, id);
        }

        return id;
    }
}
