using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Sites;

namespace KTrace.Debugger.NonStop;

/// <summary>How a recording takes its hits: what stands behind the options of <c>ktrace record</c>.</summary>
public sealed record CaptureOptions
{
    public const int DefaultStackBytes = 4096;
    public const int MinimumStackBytes = 256;
    public const int MaximumStackBytes = 65536;

    /// <summary>--stop, --no-stop, or neither.</summary>
    public CaptureChoice Choice { get; init; } = CaptureChoice.Auto;

    /// <summary>A full ring drops records and counts them; otherwise the guest waits.</summary>
    public bool Lossy { get; init; }

    /// <summary>Bytes of stack that are copied at a hit at most, over all of its stacks; a multiple of 8.</summary>
    public int StackBytes { get; init; } = DefaultStackBytes;

    /// <summary>Bytes of the ring, a power of two; null: as the guest's memory allows.</summary>
    public int? RingBytes { get; init; }

    /// <summary>Of the ring only so many bytes are used; null: all.</summary>
    public int? RingLimit { get; init; }

    /// <summary>Of which frames arguments are recorded.</summary>
    public ArgumentScope Arguments { get; init; } = ArgumentScope.Auto;

    /// <summary>Boot once without tracing first, to know how long the guest takes then.</summary>
    public bool Baseline { get; init; }

    /// <summary>Places that patterns and sets leave out, in the words of -b.</summary>
    public IReadOnlyList<string> Except { get; init; } = [];

    public static CaptureOptions Default { get; } = new();
}
