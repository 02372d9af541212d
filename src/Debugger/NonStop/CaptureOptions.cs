using KTrace.Debugger.NonStop.Sites;

namespace KTrace.Debugger.NonStop;

/// <summary>Of which frames arguments are recorded.</summary>
public enum ArgumentScope
{
    /// <summary>At stops those of every frame. At hits without stops those of the function that was entered, and for the first hits of a recording those of every frame, as far as registers and stack tell.</summary>
    Auto,

    /// <summary>Of every frame, as far as they can be known.</summary>
    All,

    /// <summary>Of the traced function alone: exact, and quick.</summary>
    Own,

    None,
}

/// <summary>How a recording takes its hits: what stands behind the options of <c>ktrace record</c>.</summary>
public sealed record CaptureOptions
{
    public const int DefaultStackBytes = 4096;
    public const int MinimumStackBytes = 256;
    public const int MaximumStackBytes = 65536;

    /// <summary>MiB of ring if nobody says otherwise.</summary>
    public const int DefaultRing = 32;

    public const int MinimumRing = 2;
    public const int MaximumRing = 1024;

    /// <summary>--stop, --no-stop, or neither.</summary>
    public CaptureChoice Choice { get; init; } = CaptureChoice.Auto;

    /// <summary>A full ring drops records and counts them; otherwise the guest waits.</summary>
    public bool Lossy { get; init; }

    /// <summary>Bytes of stack that are copied at a hit at most, over all of its stacks; a multiple of 8.</summary>
    public int StackBytes { get; init; } = DefaultStackBytes;

    /// <summary>Of which frames arguments are recorded.</summary>
    public ArgumentScope Arguments { get; init; } = ArgumentScope.Auto;

    /// <summary>MiB of the ring, a power of two; null: as fits the guest's memory, <see cref="DefaultRing"/> at most.</summary>
    public int? Ring { get; init; }

    /// <summary>Bytes of the ring that are used at most; null: all. For tests of a full ring.</summary>
    public int? RingLimit { get; init; }

    /// <summary>Boot once without tracing first, to know how long the guest takes then.</summary>
    public bool Baseline { get; init; }

    /// <summary>Places that patterns and sets leave out, in the words of -b.</summary>
    public IReadOnlyList<string> Except { get; init; } = [];

    public static CaptureOptions Default { get; } = new();
}
