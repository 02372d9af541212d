using System.Globalization;

namespace KTrace.Tracing;

/// <summary>A trace, or one hit of it, as people write it: <c>FILE</c>, <c>FILE#12</c>, <c>FILE#first</c>, <c>FILE#last</c>.</summary>
/// <param name="File">Path of the trace.</param>
/// <param name="Hit">The hit, or null for the whole trace.</param>
public sealed record HitReference(string File, HitPick? Hit)
{
    /// <param name="text">As given.</param>
    /// <param name="fileExists">Says whether a path is there: a file whose name really ends in <c>#12</c> is taken as the file.</param>
    /// <exception cref="TraceQueryException">What follows the # names no hit.</exception>
    public static HitReference Parse(string text, Func<string, bool>? fileExists = null)
    {
        int mark = text.LastIndexOf('#');
        if (mark < 0 || (fileExists ?? System.IO.File.Exists)(text))
        {
            return new HitReference(text, null);
        }

        string file = text[..mark];
        string hit = text[(mark + 1)..];
        HitPick pick = hit switch
        {
            "first" => new HitPick.First(),
            "last" => new HitPick.Last(),
            _ when long.TryParse(hit, NumberStyles.None, CultureInfo.InvariantCulture, out long sequence) => new HitPick.Number(sequence),
            _ => throw new TraceQueryException($"{text}: after # comes the number of a hit, first or last"),
        };
        return new HitReference(file, pick);
    }

    public override string ToString() => Hit is null ? File : $"{File}#{Hit}";
}

/// <summary>Which hit of a trace. A sum type: exactly one of the nested records.</summary>
public abstract record HitPick
{
    private HitPick()
    {
    }

    /// <summary>The hit with this sequence number.</summary>
    public sealed record Number(long Sequence) : HitPick
    {
        public override string ToString() => Sequence.ToString(CultureInfo.InvariantCulture);
    }

    public sealed record First : HitPick
    {
        public override string ToString() => "first";
    }

    public sealed record Last : HitPick
    {
        public override string ToString() => "last";
    }
}
