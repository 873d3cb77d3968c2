import { blursEmails, language, theme } from '../preferences.ts';
import { frameText } from '../texts/frame.ts';
import { Choices } from './field.tsx';
import { Icon } from './icon.tsx';

export function Preferences() {
  const text = frameText();
  return (
    <details class="preferences">
      <summary>
        <Icon name="sliders" />
        <span>{text.preferences}</span>
      </summary>
      <div class="preferences-body">
        <Choices
          label={text.language}
          value={language}
          options={[
            { value: 'en', label: 'English' },
            { value: 'zh', label: '中文' },
          ]}
        />
        <Choices
          label={text.theme}
          value={theme}
          options={[
            { value: 'system', label: text.themeSystem },
            { value: 'light', label: text.themeLight },
            { value: 'dark', label: text.themeDark },
          ]}
        />
        <div class="check">
          <input
            id="blur-emails"
            type="checkbox"
            checked={blursEmails.value === 'yes'}
            onChange={({ currentTarget }) => {
              blursEmails.value = currentTarget.checked ? 'yes' : 'no';
            }}
          />
          <label for="blur-emails">{text.blurEmails}</label>
        </div>
      </div>
    </details>
  );
}
