// One print of one value: a walk over the type that stops where the text is long enough. What is not there is said in angle brackets, as gdb does.
using System.Globalization;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>The walk over one value.</summary>
internal sealed class PrintRun
{
    // A structure that is larger is read member by member, as far as the text reaches.
    private const int WholeStructure = 2048;

    // As gdb's "set print repeats".
    private const int FewestRepeats = 4;

    private readonly ValueReader _reader;
    private readonly PrintOptions _options;
    private readonly NumberPrinter _numbers;
    private readonly ObjectNames _objects;
    private readonly KnownStructures _known;
    private readonly StringBuilder _text = new();
    private int _levels;

    public PrintRun(IValueScope scope, PrintOptions options)
    {
        _options = options;
        _reader = new ValueReader(scope, options.MaximumBytes);
        _numbers = new NumberPrinter(scope);
        _objects = new ObjectNames(_reader);
        _known = new KnownStructures(_reader, options);
    }

    public PrintedValue Print(NamedValue item)
    {
        Write(item, 0);
        if (_text.Length > _options.MaximumLength)
        {
            _text.Length = Math.Max(0, _options.MaximumLength - 1);
            _text.Append('…');
        }

        return new PrintedValue(Safe(_text.ToString()), _reader.Missing());
    }

    private bool IsFull => _text.Length >= _options.MaximumLength;

    private void Write(NamedValue item, int depth)
    {
        var value = item.Value;
        switch (value.Type.Resolved)
        {
            case StructType:
                Structure(item, depth);
                return;
            case ArrayType array:
                Array(item, array, depth);
                return;
            case FunctionType:
                _text.Append(value.Address is { } entry ? Symbol(entry) ?? Hex(entry) : "<function>");
                return;
            case VoidType:
                _text.Append(value.Address is { } address ? $"<{Hex(address)}, of unknown type>" : "void");
                return;
        }

        if (Load(value) is not { } loaded)
        {
            return;
        }

        _text.Append(value.Type.Resolved is PointerType pointer ? Pointer(item, loaded, pointer) : _numbers.Print(item, loaded));
    }

    /// <summary>The value with its bytes, or null after the reason was written.</summary>
    private TypedValue? Load(TypedValue value)
    {
        var state = _reader.Load(value, out var loaded);
        if (state == ReadState.Ok && !loaded.Bytes.IsEmpty)
        {
            return loaded;
        }

        _text.Append(Absent(state, value));
        return null;
    }

    private static string Absent(ReadState state, TypedValue value) => state switch
    {
        ReadState.Missing => "<not fetched>",
        ReadState.Unreadable => $"<cannot read {Hex(value.Address ?? 0)}>",
        ReadState.TooMuch => "…",
        _ => value.Provenance == Provenance.Unreadable ? "<cannot be read>" : "<optimized out>",
    };

    private string Pointer(NamedValue item, TypedValue value, PointerType pointer)
    {
        var number = (ulong)(value.Number ?? 0);
        if (number == 0)
        {
            return "NULL";
        }

        if (ErrorNumbers.TextOf((long)number, _reader.Scope.Architecture.WordSize) is { } error)
        {
            return error;
        }

        var target = pointer.Target.Resolved;
        if (target is FunctionType)
        {
            return Symbol(number) ?? Hex(number);
        }

        if (target is IntegerType { IsText: true })
        {
            return TextAt(number, _options.MaximumText);
        }

        if (target is IntegerType { Size: 1 } && item.Owner == "net_device" && item.Name == "dev_addr")
        {
            return EthernetAt(number);
        }

        var text = Symbol(number) ?? Hex(number);
        return _options.FollowPointers && target is StructType && _reader.Dereference(value) is { } behind && _objects.Of(behind) is { } name ? $"{text} {name}" : text;
    }

    private string TextAt(ulong address, int limit)
    {
        var (state, bytes, isCut) = _reader.ReadText(address, limit);
        return state switch
        {
            ReadState.Ok => QuotedText.Quote(bytes, isCut),
            ReadState.Missing => Hex(address),
            _ when bytes.Length > 0 => QuotedText.Quote(bytes, isCut: true),
            _ => $"<cannot read {Hex(address)}>",
        };
    }

    private string EthernetAt(ulong address)
    {
        var bytes = new byte[NetworkAddresses.EthernetLength];
        return _reader.Read(address, bytes) == ReadState.Ok ? NetworkAddresses.Ethernet(bytes) : Hex(address);
    }

    private void Structure(NamedValue item, int depth)
    {
        var value = item.Value;
        if (_reader.StructureOf(value.Type) is not { } structure || structure.IsIncomplete)
        {
            _text.Append(value.Address is { } at ? $"<{Hex(at)}, only declared>" : "<only declared>");
            return;
        }

        if (value is { Address: null, Bytes.IsEmpty: true })
        {
            _text.Append(Absent(ReadState.Unknown, value));
            return;
        }

        if (_known.Print(value, structure, depth) is { } known)
        {
            _text.Append(known);
            return;
        }

        if (depth >= _options.MaximumDepth && structure.Members.Length > 0)
        {
            _text.Append("{…}");
            return;
        }

        value = Begin(value, structure.Size);
        if (value.Bytes.IsEmpty && _reader.HasMissing && structure.Size is > 0 and <= WholeStructure)
        {
            _text.Append("<not fetched>");
            return;
        }

        Braces(Flat(structure, 0), member =>
        {
            if (member.Name.Length > 0)
            {
                _text.Append('.').Append(member.Name).Append(" = ");
            }

            Write(new NamedValue(member.Name, _reader.MemberOf(value, member), structure.Name.Length > 0 ? structure.Name : item.Owner), depth + 1);
        });
    }

    /// <summary>The value with the bytes from its start, as many as are read at once.</summary>
    private TypedValue Begin(TypedValue value, long size)
    {
        if (!value.Bytes.IsEmpty || value.Address is not { } address || size <= 0)
        {
            return value;
        }

        var bytes = new byte[Math.Min(size, WholeStructure)];
        return _reader.Read(address, bytes) == ReadState.Ok ? value with { Bytes = bytes } : value;
    }

    /// <summary>Members as C sees them: those of anonymous structures and unions stand with their neighbours.</summary>
    public static IEnumerable<Member> Flat(StructType structure, int depth)
    {
        const int MaximumDepth = 8;
        foreach (var member in structure.Members)
        {
            if (member.Name.Length > 0)
            {
                yield return member;
            }
            else if (member.Type.Resolved is StructType inner && depth < MaximumDepth)
            {
                foreach (var nested in Flat(inner, depth + 1))
                {
                    yield return nested with { BitOffset = member.BitOffset + nested.BitOffset };
                }
            }
        }
    }

    private void Array(NamedValue item, ArrayType array, int depth)
    {
        var value = item.Value;
        var element = array.Element;
        var size = element.Size;
        if (element.Resolved is IntegerType { IsText: true })
        {
            Text(value, array.Count);
            return;
        }

        var count = array.Count ?? 0;
        if (count <= 0 || size <= 0)
        {
            _text.Append("{}");
            return;
        }

        if (element.Resolved is IntegerType { Size: 1 } && NetworkAddresses.IsEthernet(item.Owner, item.Name, count))
        {
            var address = Begin(value with { Type = new ArrayType(element, NetworkAddresses.EthernetLength) }, NetworkAddresses.EthernetLength);
            if (address.Bytes.Length >= NetworkAddresses.EthernetLength)
            {
                _text.Append(NetworkAddresses.Ethernet(address.Bytes.Span));
                return;
            }
        }

        // One CPU mask, where it is not a pointer (cpumask_var_t without CONFIG_CPUMASK_OFFSTACK).
        if (count == 1 && element.Resolved is StructType { Name: "cpumask" })
        {
            Write(item with { Value = ElementOf(value, element, 0) }, depth);
            return;
        }

        if (depth >= _options.MaximumDepth)
        {
            _text.Append("{…}");
            return;
        }

        value = Begin(value, size * Math.Min(count, WholeStructure));
        if (value.Bytes.IsEmpty && _reader.HasMissing)
        {
            _text.Append("<not fetched>");
            return;
        }

        Braces(Runs(value, element, count), run =>
        {
            // Bytes that are no text are numbers that nobody counts with.
            if (element.Resolved is IntegerType { Size: 1, Encoding: not IntegerEncoding.Boolean } && ElementOf(value, element, run.Index) is { Bytes: { IsEmpty: false } bytes })
            {
                _text.Append(CultureInfo.InvariantCulture, $"0x{bytes.Span[0]:x2}");
            }
            else
            {
                Write(new NamedValue(item.Name, ElementOf(value, element, run.Index), item.Owner), depth + 1);
            }

            if (run.Length > 1)
            {
                _text.Append(CultureInfo.InvariantCulture, $" <repeats {run.Length} times>");
            }
        });
    }

    /// <summary>Elements, those that repeat themselves as one; a last run of length 0 stands for those that are not shown.</summary>
    private IEnumerable<(long Index, long Length)> Runs(TypedValue value, CType element, long count)
    {
        var shown = 0;
        for (long i = 0; i < count && shown < _options.MaximumElements; shown++)
        {
            var size = element.Size;
            var first = ValueReader.Slice(value.Bytes, i * size, size);
            long same = 1;
            while (i + same < count && !first.IsEmpty && ValueReader.Slice(value.Bytes, (i + same) * size, size) is { IsEmpty: false } next && next.Span.SequenceEqual(first.Span))
            {
                same++;
            }

            if (same < FewestRepeats)
            {
                same = 1;
            }

            yield return (i, same);
            i += same;
        }
    }

    private TypedValue ElementOf(TypedValue array, CType element, long index) => ValueReader.ElementOf(array, element, index, _reader.Scope.Architecture.WordSize);

    private void Text(TypedValue value, long? count)
    {
        var limit = (int)Math.Min(count ?? _options.MaximumText, _options.MaximumText);
        if (count == 0)
        {
            _text.Append("\"\"");
        }
        else if (!value.Bytes.IsEmpty)
        {
            var bytes = value.Bytes.Span[..Math.Min(limit, value.Bytes.Length)];
            var end = bytes.IndexOf((byte)0);
            _text.Append(QuotedText.Quote(end < 0 ? bytes : bytes[..end], end < 0 && count > limit));
        }
        else if (value.Address is { } address)
        {
            var (state, bytes, isCut) = _reader.ReadText(address, limit);
            _text.Append(state == ReadState.Ok || bytes.Length > 0 ? QuotedText.Quote(bytes, isCut && count != limit) : Absent(state, value));
        }
        else
        {
            _text.Append(Absent(ReadState.Unknown, value));
        }
    }

    /// <summary>What stands between braces: on one line, or one a line.</summary>
    private void Braces<T>(IEnumerable<T> items, Action<T> write)
    {
        _text.Append('{');
        _levels++;
        var count = 0;
        foreach (var item in items)
        {
            Separate(count);
            if (IsFull)
            {
                _text.Append('…');
                break;
            }

            count++;
            write(item);
        }

        _levels--;
        if (_options.IsIndented && count > 0)
        {
            _text.Append('\n').Append(' ', _levels * 2);
        }

        _text.Append('}');
    }

    private void Separate(int index)
    {
        _text.Append(index > 0 ? "," : "");
        if (_options.IsIndented)
        {
            _text.Append('\n').Append(' ', _levels * 2);
        }
        else if (index > 0)
        {
            _text.Append(' ');
        }
    }

    private string? Symbol(ulong address) => _reader.Scope.NameOf(address) is { } name ? $"<{name}>" : null;

    private static string Hex(ulong number) => FormattableString.Invariant($"0x{number:x}");

    /// <summary>Names come from files: whatever a terminal would obey is shown as a question mark.</summary>
    private static string Safe(string text)
    {
        var isSafe = true;
        foreach (var rune in text.EnumerateRunes())
        {
            isSafe &= rune.Value == '\n' || QuotedText.IsSafe(rune);
        }

        return isSafe ? text : string.Concat(text.EnumerateRunes().Select(r => r.Value == '\n' || QuotedText.IsSafe(r) ? r.ToString() : "?"));
    }
}
