namespace KTrace.Symbols.Values;

/// <summary>How much of a value is printed, and how.</summary>
public sealed record PrintOptions
{
    /// <summary>One line of at most 200 characters.</summary>
    public static PrintOptions Default { get; } = new();

    /// <summary>Characters at most; what is cut ends in …</summary>
    public int MaximumLength { get; init; } = 200;

    /// <summary>Structures inside of structures that are opened.</summary>
    public int MaximumDepth { get; init; } = 3;

    /// <summary>Elements of an array, or entries of a list that are counted.</summary>
    public int MaximumElements { get; init; } = 32;

    /// <summary>Bytes of a text.</summary>
    public int MaximumText { get; init; } = 128;

    /// <summary>Bytes of the guest's memory that one print may read.</summary>
    public int MaximumBytes { get; init; } = 32 << 10;

    /// <summary>One member a line, indented, instead of one line for everything.</summary>
    public bool IsIndented { get; init; }

    /// <summary>Looks behind pointers for names (<c>0xffff888005ff8000 "eth0"</c>); costs reads.</summary>
    public bool FollowPointers { get; init; } = true;
}
