namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>What a location description describes (DWARF 5, section 2.6.1).</summary>
internal enum LocationKind : byte
{
    /// <summary>Nothing: optimized out.</summary>
    Empty,

    /// <summary>At an address of the target.</summary>
    Memory,

    /// <summary>In a register.</summary>
    Register,

    /// <summary>No place: a number that was computed (DW_OP_stack_value).</summary>
    Value,

    /// <summary>No place: the bytes stand in the expression (DW_OP_implicit_value).</summary>
    Bytes,

    /// <summary>A pointer that does not exist, to what another DIE describes (DW_OP_implicit_pointer).</summary>
    ImplicitPointer,
}

/// <summary>A location, or a piece of a composite one.</summary>
/// <param name="Value">The address, register number, value, or DIE (bytes from the start of .debug_info).</param>
/// <param name="Offset">Of an implicit pointer: bytes into what it points to.</param>
/// <param name="Bytes">Of an implicit value.</param>
/// <param name="Bits">Size of the piece; 0 for a location that is not composite.</param>
/// <param name="BitOffset">Where the piece starts in its location.</param>
internal readonly record struct LocationPiece(LocationKind Kind, ulong Value, long Offset = 0, ExpressionBytes Bytes = default, long Bits = 0, long BitOffset = 0);

/// <summary>What was looked at to get a value.</summary>
[Flags]
internal enum ValueSources : byte
{
    None = 0,
    Register = 1,
    Memory = 2,
    Entry = 4,
    Recovered = 8,
}

/// <summary>The outcome of one evaluation. One object may be filled again and again.</summary>
internal sealed class LocationResult
{
    // A structure in as many registers as there are would have as many; more is an attack on our time.
    private const int MaximumPieces = 64;

    private LocationPiece[] _pieces = new LocationPiece[4];

    public ExpressionOutcome Outcome { get; set; }

    /// <summary>Where memory was not fetched or could not be read.</summary>
    public ulong FailedAddress { get; set; }

    /// <summary>Why the expression could not be evaluated, in words; null where nothing need be said.</summary>
    public string? Refusal { get; set; }

    public ValueSources Sources { get; set; }

    /// <summary>One location that is not a composite has one piece.</summary>
    public ReadOnlySpan<LocationPiece> Pieces => _pieces.AsSpan(0, Count);

    public int Count { get; private set; }

    public void Clear()
    {
        Count = 0;
        Outcome = ExpressionOutcome.Value;
        FailedAddress = 0;
        Refusal = null;
        Sources = ValueSources.None;
    }

    public bool TryAdd(in LocationPiece piece)
    {
        if (Count == MaximumPieces)
        {
            return false;
        }

        if (Count == _pieces.Length)
        {
            Array.Resize(ref _pieces, Count * 2);
        }

        _pieces[Count++] = piece;
        return true;
    }

    public ExpressionOutcome Fail(ExpressionOutcome outcome, ulong address = 0, string? refusal = null)
    {
        Count = 0;
        FailedAddress = address;
        Refusal = refusal;
        return Outcome = outcome;
    }
}
