using System.Collections;
using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>Words for <see cref="TraceArgument.Provenance"/>; an open set.</summary>
public static class ArgumentProvenance
{
    public const string Register = "register";
    public const string Memory = "memory";
    public const string Constant = "constant";

    /// <summary>What the caller passed, as the call's debug information says.</summary>
    public const string EntryValue = "entry value";

    /// <summary>Beyond the debug information: the machine code shows where it still is.</summary>
    public const string Recovered = "recovered";

    /// <summary>Behind another word: what its text says beyond the number was read in memory a moment after the hit, while the guest ran on.</summary>
    public const string Later = "read later";
    public const string OptimizedOut = "optimized out";

    /// <summary>Where it is is known, but that memory could not be read.</summary>
    public const string Unreadable = "unreadable";
}

/// <summary>One argument of a function.</summary>
/// <param name="Type">In C's words, or null.</param>
/// <param name="Value">The raw value, or null where it is not known, or is no single number.</param>
/// <param name="Text">The value as a person reads it (<c>0xffff888005ff8000 "eth0"</c>, <c>&lt;e1000_msix_other&gt;</c>, <c>26</c>), or null.</param>
/// <param name="Provenance">How it is known, see <see cref="ArgumentProvenance"/>.</param>
/// <param name="IsAtEntry">The value with which the function was entered; the variable may hold another by now.</param>
public sealed record TraceArgument(
    string Name, string? Type, ulong? Value, string? Text, string Provenance = ArgumentProvenance.Register, bool IsAtEntry = false)
{
    public bool IsKnown => Value is not null || Text is not null;
}

/// <summary>
/// The arguments of one frame of one hit, in order. Immutable and compared by content; its hash is computed once. Outer frames have the same arguments hit after hit, and are
/// written once.
/// </summary>
public sealed class ArgumentList : IReadOnlyList<TraceArgument>, IEquatable<ArgumentList>
{
    private readonly ImmutableArray<TraceArgument> _arguments;
    private readonly int _hash;

    public ArgumentList(ImmutableArray<TraceArgument> arguments)
    {
        _arguments = arguments.IsDefault ? [] : arguments;
        var hash = new HashCode();
        foreach (TraceArgument argument in _arguments)
        {
            hash.Add(argument);
        }

        _hash = hash.ToHashCode();
    }

    public static ArgumentList Empty { get; } = new([]);

    public int Count => _arguments.Length;

    public TraceArgument this[int index] => _arguments[index];

    public bool Equals(ArgumentList? other) => ReferenceEquals(this, other)
        || (other is not null && _hash == other._hash && _arguments.AsSpan().SequenceEqual(other._arguments.AsSpan()));

    public override bool Equals(object? obj) => Equals(obj as ArgumentList);

    public override int GetHashCode() => _hash;

    public IEnumerator<TraceArgument> GetEnumerator() => ((IEnumerable<TraceArgument>)_arguments).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>What a <c>print</c> of a tracepoint gave at one hit.</summary>
/// <param name="Expression">As the user wrote it.</param>
/// <param name="Type">In C's words, or null.</param>
/// <param name="Value">The raw value when it is a single number.</param>
/// <param name="Text">The value as a person reads it, or null.</param>
/// <param name="Error">Why there is no value (<c>desc is NULL</c>), or null.</param>
public sealed record TracePrint(string Expression, string? Type, ulong? Value, string? Text, string? Error = null);
