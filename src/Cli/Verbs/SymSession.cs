using System.Globalization;
using System.Text;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Lookup;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

/// <summary>Questions come as text, from the command line or from a stream; answers go out in the same order.</summary>
internal sealed class SymSession
{
    // Long enough for a writer that is still writing, too short for a person or a program that waits for an answer.
    private const int PauseMilliseconds = 2;
    private const int MaximumBatch = 1 << 18;

    private readonly SymAnswers _answers;
    private readonly ByteBuffer _output;
    private readonly TextWriter _errors;
    private SymQuestion[] _questions = new SymQuestion[64];
    private int _count;
    private bool _allFound = true;

    public SymSession(SymAnswers answers, Stream output, TextWriter errors)
    {
        _answers = answers;
        _output = new ByteBuffer(output) { Clean = text => TerminalText.Sanitize(text) };
        _errors = errors;
    }

    /// <summary>Answers the arguments of the command line. The exit status: 0 or 1.</summary>
    public int Answer(IReadOnlyList<string> questions)
    {
        foreach (var question in questions)
        {
            Add(Encoding.UTF8.GetBytes(question));
        }

        Flush();
        return _allFound ? 0 : 1;
    }

    /// <summary>Reads lines until the end of input and answers whenever it pauses. The exit status: 0 or 1.</summary>
    public int AnswerAll(Stream input)
    {
        var reader = new PausingReader(input);
        var line = new ByteBuffer();
        while (reader.Read(PauseMilliseconds, out var chunk))
        {
            if (chunk.IsEmpty)
            {
                // The input pauses: somebody may be waiting.
                Flush();
                continue;
            }

            while (chunk.IndexOf((byte)'\n') is var end and >= 0)
            {
                if (line.Length > 0)
                {
                    line.Append(chunk[..end]);
                    Add(line.Written);
                    line.Clear();
                }
                else
                {
                    Add(chunk[..end]);
                }

                chunk = chunk[(end + 1)..];
                if (_count >= MaximumBatch)
                {
                    Flush();
                }
            }

            line.Append(chunk);
        }

        if (line.Length > 0)
        {
            Add(line.Written);
        }

        Flush();
        return _allFound ? 0 : 1;
    }

    private void Flush()
    {
        if (_count > 0)
        {
            var found = _answers.Append(_questions, _count, _output);
            _allFound &= found == _count;
            _count = 0;
        }

        _output.Flush();
    }

    private void Ask(ulong address, int section)
    {
        if (_count == _questions.Length)
        {
            var larger = new SymQuestion[_count * 2];
            Array.Copy(_questions, larger, _count);
            _questions = larger;
        }

        _questions[_count++] = new SymQuestion(address, section);
    }

    private void Add(ReadOnlySpan<byte> text)
    {
        while (!text.IsEmpty && text[0] is (byte)' ' or (byte)'\t')
        {
            text = text[1..];
        }

        while (!text.IsEmpty && text[^1] is (byte)' ' or (byte)'\t' or (byte)'\r')
        {
            text = text[..^1];
        }

        if (TryParseHex(text, out var address))
        {
            Ask(address, -1);
        }
        else if (!text.IsEmpty)
        {
            AddSymbol(Encoding.UTF8.GetString(text));
        }
    }

    private static bool TryParseHex(ReadOnlySpan<byte> text, out ulong value)
    {
        value = 0;
        if (text.StartsWith("0x"u8) || text.StartsWith("0X"u8))
        {
            text = text[2..];
        }

        if (text.IsEmpty || text.Length > 16)
        {
            return false;
        }

        foreach (var b in text)
        {
            var digit = b switch
            {
                >= (byte)'0' and <= (byte)'9' => b - '0',
                >= (byte)'a' and <= (byte)'f' => b - 'a' + 10,
                >= (byte)'A' and <= (byte)'F' => b - 'A' + 10,
                _ => -1,
            };
            if (digit < 0)
            {
                return false;
            }

            value = (value << 4) | (uint)digit;
        }

        return true;
    }

    // name, name+0x10, name+0x10/0x80, and what an oops puts around them: "? name+0x10/0x80 [module]"; file.c:name, file.c:123, a glob, a regular expression.
    private void AddSymbol(string text)
    {
        var name = text.StartsWith("? ", StringComparison.Ordinal) ? text[2..] : text;
        if (name.IndexOf(" [", StringComparison.Ordinal) is var module and > 0)
        {
            name = name[..module];
        }

        if (NamePattern.IsPattern(name))
        {
            AddPattern(name);
            return;
        }

        if (name.LastIndexOf(':') is var colon and > 0 && int.TryParse(name.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var line)
            && SourceFileName.IsSourceFile(name[..colon]))
        {
            AddLine(name[..colon], line);
            return;
        }

        ulong offset = 0;
        ulong? size = null;
        var plus = name.LastIndexOf('+');
        if (plus > 0)
        {
            var numbers = name[(plus + 1)..];
            var slash = numbers.IndexOf('/');
            if (slash > 0 && TryParseHex(Encoding.UTF8.GetBytes(numbers[(slash + 1)..]), out var length))
            {
                size = length;
                numbers = numbers[..slash];
            }

            if (!TryParseHex(Encoding.UTF8.GetBytes(numbers), out offset))
            {
                Unknown($"{text}: neither a hexadecimal address nor a symbol with an offset");
                return;
            }

            name = name[..plus];
        }

        AddNamed(name, offset, size);
    }

    private void AddNamed(string name, ulong offset, ulong? size)
    {
        var matches = _answers.Symbolizer.Symbols.Find(name);
        var functions = matches.Where(m => m.Symbol.IsFunction).ToList();
        IReadOnlyList<SymbolMatch> usable = functions.Count > 0 ? functions : matches;
        if (usable.Count > 1 && size is not null && usable.Where(m => m.Symbol.Size == size).ToList() is { Count: > 0 } fitting)
        {
            usable = fitting;
        }

        if (usable.Count == 0)
        {
            AddFunction(name, offset);
        }
        else if (usable.Select(m => m.Symbol.Value).Distinct().Count() > 1)
        {
            Unknown($"{name}: {usable.Count} symbols have this name; say which: "
                + string.Join(", ", usable.Select(m => m.SourceFile is null ? $"0x{m.Symbol.Value:x}" : $"{m.SourceFile}:{m.Symbol.Name}")));
        }
        else
        {
            var symbol = usable[0].Symbol;
            var symbols = _answers.Symbolizer.Symbols;
            var isOffset = _answers.IsRelocatable && symbol.SectionIndex < symbols.Sections.Length;
            var start = isOffset ? symbols.AddressOf(symbols.Sections[symbol.SectionIndex]) : 0;
            Ask(symbol.Value - start + offset, isOffset ? symbol.SectionIndex : -1);
        }
    }

    /// <summary>No symbol of that very name: a copy that the compiler made, a function that was inlined everywhere, a Rust path, or static in a named file.</summary>
    private void AddFunction(string name, ulong offset)
    {
        var (file, function) = name.IndexOf(':') is var colon and > 0 && SourceFileName.IsSourceFile(name[..colon]) ? (name[..colon], name[(colon + 1)..]) : (null, name);
        var found = Functions.Find(function, file);
        var places = found.SelectMany(f => f.Places).ToList();
        if (places.Count == 0)
        {
            var near = Functions.Suggest(function).Concat(_answers.Symbolizer.Symbols.Suggest(function)).Distinct().Take(5).ToList();
            Unknown($"{name}: no such symbol" + (near.Count > 0 ? "; near: " + string.Join(", ", near) : ""));
        }
        else if (offset != 0 && places.Count > 1)
        {
            Unknown($"{name}: {places.Count} places have this name; an offset from which of them?");
        }
        else
        {
            foreach (var note in found.Select(f => f.Describe()).OfType<string>())
            {
                Say(note);
            }

            places.ForEach(p => Ask(p, offset));
        }
    }

    private void AddPattern(string text)
    {
        if (!NamePattern.TryParse(text, out var pattern, out var problem))
        {
            Unknown(problem);
            return;
        }

        var places = Functions.Names(pattern).SelectMany(n => Functions.Find(n, null, withInlined: false)).SelectMany(f => f.Places).Select(p => p.Address).Distinct().ToList();
        if (places.Count == 0)
        {
            Unknown($"{text}: no function matches");
        }

        foreach (var address in places)
        {
            Ask(address);
        }
    }

    private void AddLine(string file, int line)
    {
        var matches = Functions.FindLine(file, line);
        IReadOnlyList<LineMatch> usable = matches.Any(m => m.IsExact) ? [.. matches.Where(m => m.IsExact)] : matches;
        if (usable.Count == 0)
        {
            Unknown($"{file}:{line}: no code at or behind that line of a file of that name");
        }
        else if (usable.Count > 1)
        {
            Unknown($"{file}:{line}: {usable.Count} files have this name; say which: " + string.Join(", ", usable.Select(m => $"{m.File}:{line}")));
        }
        else
        {
            if (!usable[0].IsExact)
            {
                Say($"line {line} of {usable[0].File} has no code; the next that has is {usable[0].Line}");
            }

            foreach (var place in usable[0].Places)
            {
                Ask(place.Address);
            }
        }
    }

    private FunctionLookup Functions => field ??= new FunctionLookup(_answers.Symbolizer);

    private void Ask(CodePlace place, ulong offset) => Ask(place.Address + offset);

    /// <summary>An address as the object has it, as a question: in a relocatable file an offset into its section.</summary>
    private void Ask(ulong address)
    {
        if (_answers.IsRelocatable && _answers.Symbolizer.Symbols.TryFindSection(address, out var section, out var start))
        {
            Ask(address - start, section.Index);
        }
        else
        {
            Ask(address, -1);
        }
    }

    private void Say(string message) => _errors.WriteLine("ktrace sym: " + TerminalText.Sanitize(message));

    private void Unknown(string message)
    {
        // In order: what was asked before is answered before.
        Flush();
        Say(message);
        _answers.AppendUnknown(_output);
        _output.Flush();
        _allFound = false;
    }
}

/// <summary>Reads a stream on a thread of its own, so that the reader can tell a pause from the end.</summary>
internal sealed class PausingReader
{
    private const int ChunkSize = 256 << 10;
    private const int MaximumChunks = 16;

    private readonly Queue<byte[]> _chunks = new();
    private bool _ended;
    private bool _pauseTold = true;
    private Exception? _failure;

    public PausingReader(Stream input) =>
        new Thread(() => Fill(input)) { IsBackground = true, Name = "standard input" }.Start();

    /// <summary>False at the end. An empty chunk says, once, that nothing came for that long; otherwise waits for as long as it takes.</summary>
    public bool Read(int pauseMilliseconds, out ReadOnlySpan<byte> chunk)
    {
        chunk = default;
        lock (_chunks)
        {
            while (_chunks.Count == 0)
            {
                if (_ended)
                {
                    return _failure is null ? false : throw new IOException("standard input: " + _failure.Message, _failure);
                }

                if (_pauseTold)
                {
                    Monitor.Wait(_chunks);
                }
                else if (!Monitor.Wait(_chunks, pauseMilliseconds) && _chunks.Count == 0 && !_ended)
                {
                    _pauseTold = true;
                    return true;
                }
            }

            chunk = _chunks.Dequeue();
            _pauseTold = false;
            Monitor.PulseAll(_chunks);
            return true;
        }
    }

    private void Fill(Stream input)
    {
        try
        {
            var buffer = new byte[ChunkSize];
            int count;
            while ((count = input.Read(buffer, 0, buffer.Length)) > 0)
            {
                var chunk = new byte[count];
                Buffer.BlockCopy(buffer, 0, chunk, 0, count);
                lock (_chunks)
                {
                    while (_chunks.Count >= MaximumChunks)
                    {
                        Monitor.Wait(_chunks);
                    }

                    _chunks.Enqueue(chunk);
                    Monitor.PulseAll(_chunks);
                }
            }
        }
        catch (IOException e)
        {
            _failure = e;
        }
        finally
        {
            lock (_chunks)
            {
                _ended = true;
                Monitor.PulseAll(_chunks);
            }
        }
    }
}
