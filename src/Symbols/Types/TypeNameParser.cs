// Type names as C writes them in casts: ISO C 6.7.7, with sparse's and the kernel's address space marks (__user, __iomem …), which mean nothing to a debugger.
// A declarator is read inside out: what stands behind the parentheses belongs to the type before what stands in them.
using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Symbols.Types;

/// <summary>Reads type names: <c>struct page *</c>, <c>unsigned long</c>, <c>char [16]</c>, <c>int (*)(int, void *)</c>.</summary>
public static class TypeNameParser
{
    // More than any declaration has; a text of brackets only must end.
    private const int MaximumDepth = 32;
    private const int MaximumParts = 256;

    private static readonly string[] Qualifiers = ["const", "volatile", "restrict", "__restrict", "__restrict__", "_Atomic", "__const", "__volatile__"];
    private static readonly string[] Marks = ["__user", "__kernel", "__iomem", "__percpu", "__rcu", "__force", "__bitwise", "__private", "register", "static", "extern"];

    /// <summary>
    /// Reads a type name at a position, such as behind the parenthesis of a cast, and goes on behind it (and behind no white space). False, with the position where
    /// it was, when no type name stands there. Names are looked up as typedefs and then as tags (<c>irq_desc</c> alone is <c>struct irq_desc</c>), so whoever
    /// has variables looks for those first.
    /// </summary>
    public static bool TryParse(string text, ref int position, ITypeSource types, out CType type)
    {
        var reader = new Reader(text, position, types);
        if (reader.TryReadSpecifiers(out var specified) && reader.TryReadDeclarator(specified, 0, out type))
        {
            position = reader.End;
            return true;
        }

        type = VoidType.Instance;
        return false;
    }

    /// <summary>Reads a text that is a type name and nothing else; null, and what is wrong in words for people, when it is none.</summary>
    public static CType? Parse(string text, ITypeSource types, out string error)
    {
        var reader = new Reader(text, 0, types);
        if (!reader.TryReadSpecifiers(out var type) || !reader.TryReadDeclarator(type, 0, out type))
        {
            error = reader.Unknown is { } unknown ? Missing(unknown.Tag, unknown.Name, types) : $"'{text}' is no type name, as 'struct page *' and 'unsigned long' are";
            return null;
        }

        reader.SkipSpace();
        error = reader.AtEnd ? "" : $"'{text[reader.End..].Trim()}' behind the type name makes no sense";
        return reader.AtEnd ? type : null;
    }

    private static string Missing(TypeTag? tag, string name, ITypeSource types)
    {
        var word = tag is null or TypeTag.Ordinary ? "" : tag.Value.ToString().ToLowerInvariant() + " ";
        if (tag is { } wanted)
        {
            foreach (var other in (TypeTag[])[TypeTag.Struct, TypeTag.Union, TypeTag.Enum, TypeTag.Ordinary])
            {
                if (other != wanted && types.FindType(other, name) is { } found)
                {
                    return $"there is no type '{word}{name}', but there is '{found}'";
                }
            }
        }

        var near = types.SuggestTypes(name, 5);
        return $"there is no type '{word}{name}'" + (near.Count > 0 ? "; near: " + string.Join(", ", near) : "");
    }

    private struct Reader(string text, int position, ITypeSource types)
    {
        private int _position = position;
        private int _parts;

        /// <summary>The name that was not found, if that was the trouble; without a tag when it may be any type's.</summary>
        public (TypeTag? Tag, string Name)? Unknown { get; private set; }

        public readonly int End => _position;

        public readonly bool AtEnd => _position >= text.Length;

        public void SkipSpace()
        {
            while (_position < text.Length && char.IsWhiteSpace(text[_position]))
            {
                _position++;
            }
        }

        /// <summary>The words in front: qualifiers, and base type words or a tag or a name.</summary>
        public bool TryReadSpecifiers(out CType type)
        {
            type = VoidType.Instance;
            CType? found = null;
            var words = "";
            var qualifiers = new List<TypeQualifier>();
            while (true)
            {
                var before = _position;
                var word = ReadWord();
                if (word.Length == 0)
                {
                    _position = before;
                    break;
                }

                if (Array.IndexOf(Qualifiers, word) >= 0)
                {
                    qualifiers.Add(QualifierOf(word));
                }
                else if (Array.IndexOf(Marks, word) < 0)
                {
                    if (found is null && BaseTypeNames.IsWord(word) && words.Length < 64)
                    {
                        words += word + " ";
                    }
                    else if (found is not null || words.Length > 0)
                    {
                        // A name behind the type, as in a list of parameters.
                        _position = before;
                        break;
                    }
                    else if (!TryFind(word, out found))
                    {
                        return false;
                    }
                }
            }

            found ??= words.Length > 0 ? BaseType(words) : null;
            if (found is null)
            {
                return false;
            }

            type = found;
            // "const volatile int" is const first.
            for (var i = qualifiers.Count - 1; i >= 0; i--)
            {
                type = new QualifiedType(qualifiers[i], type);
            }

            return true;
        }

        /// <summary>Stars, brackets and parameter lists around the place of a name that need not be there.</summary>
        public bool TryReadDeclarator(CType specified, int depth, out CType type)
        {
            type = specified;
            if (depth > MaximumDepth)
            {
                return false;
            }

            var end = _position;
            for (SkipSpace(); _position < text.Length && text[_position] == '*'; SkipSpace())
            {
                _position++;
                if (++_parts > MaximumParts)
                {
                    return false;
                }

                type = new PointerType(type, types.AddressSize);
                end = _position;
                while (true)
                {
                    var word = ReadWord();
                    if (Array.IndexOf(Qualifiers, word) >= 0)
                    {
                        type = new QualifiedType(QualifierOf(word), type);
                    }
                    else if (Array.IndexOf(Marks, word) < 0)
                    {
                        _position = end;
                        break;
                    }

                    end = _position;
                }
            }

            // (*…) or (…[…]): read when what follows it is known.
            var inner = -1;
            if (_position < text.Length && text[_position] == '(' && IsNested(_position + 1) && MatchingParenthesis(_position) is var close and > 0)
            {
                (inner, _position) = (_position + 1, close + 1);
                end = _position;
            }
            else if (depth > 0)
            {
                // The name of a parameter.
                var before = _position;
                end = ReadWord().Length > 0 ? _position : end;
                _position = end == _position ? end : before;
            }

            if (!TryReadSuffixes(ref type, ref end, depth))
            {
                return false;
            }

            if (inner >= 0)
            {
                _position = inner;
                if (!TryReadDeclarator(type, depth + 1, out type))
                {
                    return false;
                }
            }

            _position = end;
            return true;
        }

        private bool TryReadSuffixes(ref CType type, ref int end, int depth)
        {
            var suffixes = new List<Func<CType, CType>>();
            while (true)
            {
                SkipSpace();
                if (_position >= text.Length || ++_parts > MaximumParts)
                {
                    break;
                }

                if (text[_position] == '[')
                {
                    var close = text.IndexOf(']', _position);
                    var bound = close < 0 ? "" : text[(_position + 1)..close].Trim();
                    long? count = null;
                    if (close < 0 || (bound.Length > 0 && !TryReadCount(bound, out count)))
                    {
                        return false;
                    }

                    suffixes.Add(element => new ArrayType(element, count));
                    _position = end = close + 1;
                }
                else if (text[_position] == '(')
                {
                    var before = _position;
                    if (!TryReadParameters(depth, out var parameters, out var isVariadic))
                    {
                        // An expression's parenthesis, not ours.
                        _position = before;
                        break;
                    }

                    suffixes.Add(returns => new FunctionType(() => returns, () => parameters, isVariadic));
                    end = _position;
                }
                else
                {
                    break;
                }
            }

            for (var i = suffixes.Count - 1; i >= 0; i--)
            {
                type = suffixes[i](type);
            }

            return true;
        }

        private bool TryReadParameters(int depth, out ImmutableArray<Parameter> parameters, out bool isVariadic)
        {
            var read = ImmutableArray.CreateBuilder<Parameter>();
            (parameters, isVariadic) = ([], false);
            _position++;
            SkipSpace();
            if (_position < text.Length && text[_position] == ')')
            {
                _position++;
                return true;
            }

            while (true)
            {
                SkipSpace();
                if (string.CompareOrdinal(text, _position, "...", 0, 3) == 0)
                {
                    _position += 3;
                    isVariadic = true;
                }
                else if (TryReadSpecifiers(out var specified) && TryReadDeclarator(specified, depth + 1, out var type))
                {
                    read.Add(new Parameter("", type));
                }
                else
                {
                    return false;
                }

                SkipSpace();
                if (_position >= text.Length || text[_position] is not (',' or ')'))
                {
                    return false;
                }

                if (text[_position++] == ')')
                {
                    break;
                }
            }

            parameters = read is [{ Type: VoidType }] ? [] : read.ToImmutable();
            return true;
        }

        private bool TryFind(string word, out CType? found)
        {
            TypeTag? tag = word switch { "struct" => TypeTag.Struct, "union" => TypeTag.Union, "enum" => TypeTag.Enum, _ => null };
            var name = word;
            if (tag is { } wanted)
            {
                name = ReadWord();
                found = name.Length > 0 ? types.FindType(wanted, name) : null;
            }
            else
            {
                found = types.FindType(TypeTag.Ordinary, name) ?? types.FindType(TypeTag.Struct, name) ?? types.FindType(TypeTag.Union, name)
                    ?? types.FindType(TypeTag.Enum, name) ?? Known(name);
            }

            Unknown = found is null && name.Length > 0 ? (tag, name) : null;
            return found is not null;
        }

        // What every kernel has (include/asm-generic/int-ll64.h), for those that describe nothing.
        private static CType? Known(string name) => name switch
        {
            "bool" => new IntegerType("_Bool", 1, IntegerEncoding.Boolean),
            "u8" => Typedef(name, 1, IntegerEncoding.UnsignedCharacter),
            "s8" => Typedef(name, 1, IntegerEncoding.SignedCharacter),
            "u16" => Typedef(name, 2, IntegerEncoding.Unsigned),
            "s16" => Typedef(name, 2, IntegerEncoding.Signed),
            "u32" => Typedef(name, 4, IntegerEncoding.Unsigned),
            "s32" => Typedef(name, 4, IntegerEncoding.Signed),
            "u64" => Typedef(name, 8, IntegerEncoding.Unsigned),
            "s64" => Typedef(name, 8, IntegerEncoding.Signed),
            _ => null,
        };

        private static TypedefType Typedef(string name, int size, IntegerEncoding encoding)
        {
            var word = size switch { 1 => "char", 2 => "short int", 4 => "int", _ => "long long int" };
            return new TypedefType(name, new IntegerType(name[0] == 'u' ? "unsigned " + word : word, size, encoding));
        }

        private readonly CType? BaseType(string words)
        {
            foreach (var spelling in BaseTypeNames.Spellings(words))
            {
                if (spelling != "void" && types.FindType(TypeTag.Ordinary, spelling) is { } found)
                {
                    return found;
                }
            }

            return BaseTypeNames.Synthesize(words, types.AddressSize);
        }

        private string ReadWord()
        {
            SkipSpace();
            var start = _position;
            while (_position < text.Length && (char.IsAsciiLetterOrDigit(text[_position]) || text[_position] is '_' or '$'))
            {
                _position++;
            }

            if (_position > start && char.IsAsciiDigit(text[start]))
            {
                _position = start;
            }

            return text[start.._position];
        }

        // "(*" begins a declarator, "(int" a list of parameters.
        private readonly bool IsNested(int at)
        {
            while (at < text.Length && char.IsWhiteSpace(text[at]))
            {
                at++;
            }

            return at < text.Length && text[at] is '*' or '(' or '[';
        }

        private readonly int MatchingParenthesis(int open)
        {
            var depth = 0;
            for (var at = open; at < text.Length; at++)
            {
                depth += text[at] switch { '(' => 1, ')' => -1, _ => 0 };
                if (depth == 0)
                {
                    return at;
                }
            }

            return -1;
        }

        private static bool TryReadCount(string bound, out long? count)
        {
            var isHex = bound.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
            var isNumber = long.TryParse(isHex ? bound.AsSpan(2) : bound, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var number);
            count = number;
            return isNumber && number is >= 0 and <= 1L << 40;
        }

        private static TypeQualifier QualifierOf(string word) => word.Trim('_') switch
        {
            "const" => TypeQualifier.Const,
            "volatile" => TypeQualifier.Volatile,
            "restrict" => TypeQualifier.Restrict,
            _ => TypeQualifier.Atomic,
        };
    }
}
