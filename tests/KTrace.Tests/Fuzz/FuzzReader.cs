using KTrace.Boot;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Fuzz;

/// <summary>One honest input: parts by name (the sections of an object, or one file), and what the walk needs to ask about it.</summary>
internal sealed record FuzzSeed(string Name, IReadOnlyDictionary<string, byte[]> Parts, object? Context = null)
{
    /// <summary>Parts that are damaged. Null for all.</summary>
    public string[]? Victims { get; init; }

    public static FuzzSeed OfFile(string name, byte[] bytes, object? context = null) => new(name, new Dictionary<string, byte[]> { ["file"] = bytes }, context);

    public static FuzzSeed OfText(string name, string text, object? context = null) => OfFile(name, System.Text.Encoding.UTF8.GetBytes(text), context);
}

/// <summary>How the parts of a seed are damaged.</summary>
internal delegate byte[] FuzzMutation(byte[] bytes, Random random);

/// <summary>A reader and what it is given.</summary>
/// <param name="Name">As the failure message and KTRACE_FUZZ name it.</param>
/// <param name="Share">How many of all cases it gets, relative to the others.</param>
/// <param name="Seeds">Made once, in a folder that lives as long as the run.</param>
/// <param name="Mutate">One of those, chosen by the case's seed.</param>
/// <param name="Walk">Opens the damaged input and asks everything that can be asked. Exceptions other than <paramref name="IsDeclared"/> fail the case.</param>
internal sealed record FuzzReader(
    string Name, int Share, Func<ScratchFolder, IReadOnlyList<FuzzSeed>> Seeds, FuzzMutation[] Mutate, Action<FuzzCase> Walk, Func<Exception, string?> IsDeclared)
{
    /// <summary>Bytes that one case may allocate, on top of 64 for each byte of input.</summary>
    public long AllocationLimit { get; init; } = 64 << 20;

    // For xunit's list of theory rows.
    public override string ToString() => Name;

    /// <summary>Null when the exception is one that broken files are answered with, and says where; otherwise what is wrong with it.</summary>
    public static string? Malformed(Exception e) => e switch
    {
        not MalformedFileException => "is not declared",
        MalformedFileException { File.Length: 0 } => "names no file",
        MalformedFileException { What.Length: 0 } => "does not say what is wrong",
        MalformedFileException { Offset: < 0 } => "names a negative offset",
        MalformedFileException { Section: null } => "names no section",
        _ => null,
    };

    public static string? Boot(Exception e) => e is BootException { Message.Length: > 0 } ? null : "is not declared";

    public static string? Protocol(Exception e) => e is RspException { Kind: RspErrorKind.Protocol } ? null : "is not declared";

    public static string? Trace(Exception e) => e is TraceQueryException { Message.Length: > 0 } ? null : Malformed(e);
}

/// <summary>One damaged input, on its way through a reader.</summary>
internal sealed class FuzzCase(FuzzReader reader, FuzzSeed seed, IReadOnlyDictionary<string, byte[]> parts, string folder, int number, Random random)
{
    private string? _path;

    public FuzzReader Reader => reader;

    public FuzzSeed Seed => seed;

    public int Number => number;

    /// <summary>For choices of the walk; seeded by the case.</summary>
    public Random Random => random;

    /// <summary>The parts, some of them damaged.</summary>
    public IReadOnlyDictionary<string, byte[]> Parts => parts;

    /// <summary>The one part of a seed that is a file.</summary>
    public byte[] Bytes => parts["file"];

    public string Text => System.Text.Encoding.UTF8.GetString(Bytes);

    /// <summary>How many declared exceptions the walk met.</summary>
    public int Refusals { get; private set; }

    /// <summary>How many questions were answered.</summary>
    public int Answers { get; private set; }

    /// <summary>The bytes as a file that nobody writes to while it is mapped.</summary>
    public string FilePath
    {
        get
        {
            if (_path is null)
            {
                _path = Path.Combine(folder, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{reader.Name}-{number}"));
                File.WriteAllBytes(_path, Bytes);
            }

            return _path;
        }
    }

    /// <summary>A folder of its own for what is unpacked.</summary>
    public string OwnFolder() => Path.Combine(folder, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{reader.Name}-{number}.d"));

    /// <summary>The parts as sections of one object.</summary>
    public SyntheticSections Sections(int addressSize = 8)
    {
        var sections = new SyntheticSections(addressSize);
        foreach (var (name, bytes) in parts)
        {
            sections[name] = bytes;
        }

        return sections;
    }

    /// <summary>Asks one question; a declared refusal ends that question and no other.</summary>
    public void Ask(Action question)
    {
        try
        {
            question();
            Answers++;
        }
        catch (Exception e) when (reader.IsDeclared(e) is null)
        {
            Refusals++;
        }
    }

    /// <summary>The same with an answer; null when it was refused.</summary>
    public T? Ask<T>(Func<T> question)
        where T : class?
    {
        T? answer = null;
        Ask(() => { answer = question(); });
        return answer;
    }

    public void Walk() => reader.Walk(this);

    public void Clean()
    {
        if (_path is not null)
        {
            File.Delete(_path);
        }

        if (Directory.Exists(OwnFolder()))
        {
            Directory.Delete(OwnFolder(), recursive: true);
        }
    }
}
