using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>How a plain number of a compact hit reads; an open set, where <see cref="Unsigned"/> stands for what is not known.</summary>
public static class ValueForm
{
    /// <summary>Hexadecimal, NULL where it is 0.</summary>
    public const string Pointer = "pointer";

    public const string Signed = "signed";
    public const string Unsigned = "unsigned";
    public const string Hexadecimal = "hex";

    /// <summary>Every word above.</summary>
    public static ImmutableArray<string> All { get; } = [Pointer, Signed, Unsigned, Hexadecimal];

    /// <summary>What a person reads.</summary>
    public static string TextOf(string form, ulong value) => form switch
    {
        Pointer => value == 0 ? "NULL" : TraceHex.Format(value),
        Hexadecimal => TraceHex.Format(value),
        Signed => ((long)value).ToString(System.Globalization.CultureInfo.InvariantCulture),
        _ => value.ToString(System.Globalization.CultureInfo.InvariantCulture),
    };
}

/// <summary>A parameter of a function, whose values compact hits have without names.</summary>
/// <param name="Name">As in the source; may be empty.</param>
/// <param name="Type">In C's words, or null.</param>
/// <param name="Form">One of <see cref="ValueForm"/>.</param>
/// <param name="Provenance">How its values are known, see <see cref="ArgumentProvenance"/>.</param>
public sealed record TraceParameter(string Name, string? Type, string Form, string Provenance = ArgumentProvenance.Register);

/// <summary>One frame of a stack that compact hits refer to, on top of the frame that called it.</summary>
/// <param name="Id">1 to <see cref="TraceFormat.MaxStacks"/>; one that was there before means this from now on.</param>
/// <param name="Caller">The id of the frame that it returns to; 0 for the outermost.</param>
/// <param name="Pc">The hit's address, or a return address, or where code was interrupted.</param>
/// <param name="Frames">What is there by name, innermost first: inlined functions, the function itself, then those that left by a tail call after the caller had called the first of them.</param>
/// <param name="TailPcs">One address for each of the latter.</param>
public readonly record struct TraceStack(int Id, int Caller, ulong Pc, ImmutableArray<TraceFrame> Frames, ImmutableArray<ulong> TailPcs)
{
    /// <summary>Of the innermost frame of a hit: the tracepoint; null for all others.</summary>
    public int? Tracepoint { get; init; }

    /// <summary>Of the innermost frame of a hit.</summary>
    public TraceContext? Context { get; init; }
}

/// <summary>A hit without a stop, as it is written: what repeats was written before.</summary>
public readonly ref struct CompactHit
{
    public required long Sequence { get; init; }

    public int Cpu { get; init; }

    /// <summary>Id of a task line.</summary>
    public required int Task { get; init; }

    /// <summary>Id of the innermost frame's stack line.</summary>
    public required int Stack { get; init; }

    public required ulong Ticks { get; init; }

    /// <summary>The values of the function's parameters as <see cref="CompactValues"/> wrote them; empty when they are not recorded.</summary>
    public ReadOnlySpan<byte> Arguments { get; init; }

    /// <summary>The arguments of all frames instead.</summary>
    public ImmutableArray<ArgumentList> Described { get; init; }

    /// <summary>Registers at the function's entry; empty when they are not recorded.</summary>
    public ImmutableArray<TraceRegister> Registers { get; init; }
}

/// <summary>A return without a stop, as it is written.</summary>
public readonly ref struct CompactReturn
{
    public required long Hit { get; init; }

    public int Cpu { get; init; }

    public required ulong Ticks { get; init; }

    public ulong? Duration { get; init; }

    public int? Depth { get; init; }

    /// <summary>Id of the result line; 0: it returns nothing, or nothing is known of it.</summary>
    public int Result { get; init; }

    /// <summary>What it returned, as <see cref="CompactValues"/> wrote it: one value.</summary>
    public ReadOnlySpan<byte> Value { get; init; }
}
