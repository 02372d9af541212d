using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>What an expression may ask about the frame that it is evaluated for.</summary>
internal abstract class LocationContext
{
    private const int MaximumCached = 4096;

    private readonly Dictionary<long, ushort> _baseTypes = [];

    /// <summary>Results that nobody holds at the moment.</summary>
    internal Stack<LocationResult> Results { get; } = new();

    /// <summary>Operators that may still be executed; shared by everything that one variable needs.</summary>
    public virtual ref int Budget => ref _budget;

    private int _budget = 10_000;

    /// <summary>A register by DWARF number; false when this frame does not know it.</summary>
    public abstract bool TryRegister(int register, out ulong value, ref ValueSources sources);

    /// <summary>DW_AT_frame_base of the function.</summary>
    public abstract ExpressionOutcome FrameBase(out ulong value);

    /// <summary>DW_OP_call_frame_cfa.</summary>
    public abstract ExpressionOutcome CallFrameAddress(out ulong value);

    public abstract MemoryReadResult Read(ulong address, Span<byte> destination);

    /// <summary>DW_OP_entry_value: what the expression gave when the function was entered.</summary>
    public abstract ExpressionOutcome EntryValue(Unit unit, ExpressionBytes expression, ref ValueSources sources, out ulong value);

    /// <summary>DW_OP_GNU_parameter_ref: what was passed for a parameter whose DIE is that one.</summary>
    public abstract ExpressionOutcome ParameterAtEntry(long entry, ref ValueSources sources, out ulong value);

    /// <summary>DW_OP_push_object_address; null when there is no object.</summary>
    public virtual ulong? ObjectAddress => null;

    /// <summary>Where an address of the object file is in the target.</summary>
    public abstract ulong ToRunTime(ulong address);

    /// <summary>The location expression of another DIE at this frame's pc, for DW_OP_call2, call4 and call_ref.</summary>
    public abstract bool TryLocationOf(Unit unit, long entry, out Unit owner, out ExpressionBytes expression);

    /// <summary>Size in bytes and DW_AT_encoding (in the upper byte) of a base type; 0 when it is none, or of more than 8 bytes.</summary>
    public ushort BaseType(Unit unit, ulong offset)
    {
        var entry = unit.Header.Offset + (long)Math.Min(offset, int.MaxValue);
        if (_baseTypes.TryGetValue(entry, out var type))
        {
            return type;
        }

        type = DieFacts.TryRead(unit, entry, out var facts) && facts.Tag == DwTag.BaseType && facts.ByteSize is > 0 and <= 8 && facts.Encoding is > 0 and < 256
            ? (ushort)((facts.Encoding << 8) | (int)facts.ByteSize)
            : (ushort)0;
        if (_baseTypes.Count >= MaximumCached)
        {
            _baseTypes.Clear();
        }

        return _baseTypes[entry] = type;
    }
}
