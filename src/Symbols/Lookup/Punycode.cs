// RFC 3492, section 6.2, with the two changes of Rust's RFC 2603: the last '_' is the delimiter, and digits are a–z, 0–9 in lower case only.
using System.Text;

namespace KTrace.Symbols.Lookup;

internal static class Punycode
{
    private const int Base = 36, MinimumThreshold = 1, MaximumThreshold = 26, Skew = 38, Damp = 700, InitialBias = 72, InitialCode = 128;
    private const int MaximumRunes = 1024;

    /// <summary>Null when it is damaged.</summary>
    public static string? Decode(string text)
    {
        var delimiter = text.LastIndexOf('_');
        var output = new List<int>();
        for (var i = 0; i < delimiter; i++)
        {
            output.Add(text[i]);
        }

        long code = InitialCode, index = 0;
        var bias = InitialBias;
        var at = delimiter + 1;
        if (at == text.Length)
        {
            return null;
        }

        while (at < text.Length)
        {
            var before = index;
            long weight = 1;
            for (var k = Base; ; k += Base)
            {
                if (at == text.Length)
                {
                    return null;
                }

                var digit = text[at++] switch
                {
                    >= 'a' and <= 'z' and var c => c - 'a',
                    >= '0' and <= '9' and var c => c - '0' + 26,
                    _ => -1,
                };
                if (digit < 0)
                {
                    return null;
                }

                index += digit * weight;
                var threshold = k <= bias ? MinimumThreshold : k >= bias + MaximumThreshold ? MaximumThreshold : k - bias;
                if (index > int.MaxValue)
                {
                    return null;
                }

                if (digit < threshold)
                {
                    break;
                }

                weight *= Base - threshold;
                if (weight > int.MaxValue)
                {
                    return null;
                }
            }

            var count = output.Count + 1;
            bias = Adapt(index - before, count, before == 0);
            code += index / count;
            index %= count;
            if (code > int.MaxValue || !Rune.IsValid((int)code) || count > MaximumRunes)
            {
                return null;
            }

            output.Insert((int)index++, (int)code);
        }

        var result = new StringBuilder();
        foreach (var value in output)
        {
            result.Append(new Rune(value).ToString());
        }

        return result.ToString();
    }

    private static int Adapt(long delta, int count, bool isFirst)
    {
        delta = isFirst ? delta / Damp : delta / 2;
        delta += delta / count;
        var k = 0;
        while (delta > (Base - MinimumThreshold) * MaximumThreshold / 2)
        {
            delta /= Base - MinimumThreshold;
            k += Base;
        }

        return k + (int)((Base - MinimumThreshold + 1) * delta / (delta + Skew));
    }
}
